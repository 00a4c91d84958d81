"""The distiller: teacher logits on public samples in, a student that answers like the teacher out."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from fedkd.distillation.config import DistillationConfig
from fedkd.distillation.public_batch import PublicBatch
from fedkd.distillation.shards import Alone, Exchange, ShardedBackward, predict_together
from fedkd.distillation.terms import Term, learner_of, relation_terms, student_taps
from fedkd.errors import RoundError
from fedkd.losses import distillation_loss
from fedkd.models.taps import FeatureTaps
from fedkd.records import Distillation
from fedkd.seeding import derive_seed, isolated_torch_rng
from fedkd.training.evaluation import predict_logits
from fedkd.training.loop import Backward, backward_whole, batches, optimizer_and_schedule, run_epoch
from fedkd.training.optimizer_state import OptimizerArrays, load_optimizer, read_optimizer


class Distiller:
    """Distils teachers into one model, round after round.

    The loss of a batch is (1 − alpha)·CE(student, labels) + alpha·soft loss(student, teacher, T) + Σ terms.

    Args:
        model: the student; trained in place.
        config: objective, epochs, batches, optimiser, what is held out to measure, and when to stop.
        terms: further losses beside those of the objective, on features of student and teacher.
        keep_optimizer: whether the optimiser's moments outlive a call to `distil`.
        shards: parts into which each batch is cut; see `fedkd.distillation.shards`. Terms see one part at a time.
        exchange: the workers that share the shards; each of them calls `distil` with the same arguments.

    Raises:
        ConfigError: the objective's loss is an import path that leads to no function.
    """

    def __init__(
        self,
        model: nn.Module,
        config: DistillationConfig,
        *,
        terms: Sequence[Term] = (),
        keep_optimizer: bool = False,
        shards: int = 1,
        exchange: Exchange | None = None,
    ) -> None:
        self.model, self.config = model, config
        self.terms = (*relation_terms(config.objective.terms), *terms)
        self._soft_loss = config.objective.soft_loss()
        self.shards, self._exchange = shards, exchange or Alone()
        self._learner = learner_of(model, self.terms)
        self._kept: OptimizerArrays | None = {} if keep_optimizer else None

    def optimizer_state(self) -> OptimizerArrays:
        """What the optimiser remembers between calls to `distil`; nothing where it is not kept."""
        return dict(self._kept or {})

    def load_optimizer_state(self, arrays: OptimizerArrays) -> None:
        """Go on with what an optimiser remembered; without effect where it is not kept."""
        if self._kept is not None:
            self._kept = dict(arrays)

    def distil(self, public: PublicBatch, seed: int, server_round: int = 1, num_rounds: int = 1) -> Distillation:
        """Train the model on the teacher's answers.

        Args:
            public: samples and answers.
            seed: of the order, the held-out part and dropout layers.
            server_round: from 1, for the schedule of the learning rate over rounds.
            num_rounds: of the whole federation.

        Raises:
            RoundError: the loss is no longer finite.
            ConfigError: an optimiser or schedule behind an import path that fails, or is none.
            ModelError: a term's module is unknown, cannot be tapped, or its features do not fit the teacher's.
        """
        rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
        held_out, training = self._split(public, rng)
        with isolated_torch_rng(derive_seed(seed, "layers")), FeatureTaps(self.model, student_taps(self.terms)) as taps:
            optimizer, schedule = optimizer_and_schedule(
                self._learner, self.config, len(training.images_NCHW), server_round, num_rounds
            )
            if self._kept is not None:
                load_optimizer(optimizer, self._kept)
            run = partial(
                run_epoch,
                self._learner,
                optimizer,
                loss_of_batch=lambda indices: self._loss(training.take(indices), taps),
                max_grad_norm=self.config.max_grad_norm,
                backward=self._backward(seed),
                schedule=schedule,
            )
            losses = self._epochs(run, len(training.images_NCHW), held_out, rng)
            if self._kept is not None:
                self._kept = read_optimizer(optimizer)
        return Distillation(
            epochs=len(losses),
            first_loss=losses[0] if losses else 0.0,
            last_loss=losses[-1] if losses else 0.0,
            agreement=self._agreement(held_out or training),
            stopped_early=len(losses) < self.config.epochs,
        )

    def _backward(self, seed: int) -> Backward:
        if self.shards == 1:
            return backward_whole
        return ShardedBackward(self._learner, self.shards, self._exchange, derive_seed(seed, "shards"))

    def _epochs(
        self, run: Callable[[list[Tensor]], float], num_samples: int, held_out: PublicBatch | None, rng: torch.Generator
    ) -> list[float]:
        """Train until the last epoch or until patience ends; returns the mean loss of each."""
        losses: list[float] = []
        best_loss, best_state, best_epoch = float("inf"), None, 0
        for epoch in range(1, self.config.epochs + 1):
            losses.append(run(batches(num_samples, self.config.batch_size, rng)))
            if not math.isfinite(losses[-1]):
                rate = self.config.learning_rate
                raise RoundError(f"distillation diverged in epoch {epoch}; lower its learning_rate, which is {rate}")
            if held_out is None or self.config.patience == 0:
                continue
            held_out_loss = self._held_out_loss(held_out)
            if held_out_loss < best_loss:
                best_loss, best_state, best_epoch = held_out_loss, copy.deepcopy(self._learner.state_dict()), epoch
            elif epoch - best_epoch >= self.config.patience:
                break
        if best_state is not None:
            self._learner.load_state_dict(best_state)
        return losses

    def _split(self, public: PublicBatch, rng: torch.Generator) -> tuple[PublicBatch | None, PublicBatch]:
        num_held_out = int(len(public.images_NCHW) * self.config.holdout_fraction)
        if num_held_out == 0:
            return None, public
        order = torch.randperm(len(public.images_NCHW), generator=rng)
        return public.take(order[:num_held_out]), public.take(order[num_held_out:])

    def _loss(self, batch: PublicBatch, taps: FeatureTaps) -> Tensor:
        objective = self.config.objective
        loss = distillation_loss(
            self.model(batch.images_NCHW),
            batch.teacher_logits_NC,
            batch.labels_N,
            temperature=objective.temperature,
            alpha=objective.alpha,
            label_smoothing=objective.label_smoothing,
            soft_loss=self._soft_loss,
        )
        if self.terms:
            features = taps.features
            for term in self.terms:
                loss = loss + term(features, batch.teacher_outputs)
        return loss

    def _held_out_loss(self, held_out: PublicBatch) -> float:
        logits = torch.from_numpy(predict_logits(self.model, held_out.images_NCHW))
        return float(self._soft_loss(logits, held_out.teacher_logits_NC.cpu(), self.config.objective.temperature))

    def _agreement(self, public: PublicBatch) -> float:
        student_NC = predict_together(self.model, public.images_NCHW, self._exchange)
        teacher_NC = public.teacher_logits_NC[:, : student_NC.shape[1]].cpu().numpy()
        return float((student_NC.argmax(axis=1) == teacher_NC.argmax(axis=1)).mean())
