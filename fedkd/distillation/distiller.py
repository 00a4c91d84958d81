"""The distiller: teacher logits on public samples in, a student that answers like the teacher out."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedkd.distillation.config import DistillationConfig
from fedkd.distillation.shards import Alone, Exchange, ShardedBackward, predict_together
from fedkd.errors import RoundError
from fedkd.losses import distillation_loss
from fedkd.losses.kd import SOFT_LOSSES
from fedkd.records import Distillation
from fedkd.seeding import derive_seed, isolated_torch_rng
from fedkd.training.evaluation import predict_logits
from fedkd.training.loop import backward_whole, batches, make_optimizer, run_epoch
from fedkd.training.optimizer_state import OptimizerArrays, load_optimizer, read_optimizer


@dataclass(frozen=True)
class PublicBatch:
    """What a distillation sees: N public images, the teacher's logits on them, and true classes where there are."""

    images_NCHW: Tensor
    teacher_logits_NC: Tensor
    labels_N: Tensor | None = None

    def take(self, indices: Tensor) -> PublicBatch:
        """The samples at `indices`."""
        labels = None if self.labels_N is None else self.labels_N[indices]
        return PublicBatch(self.images_NCHW[indices], self.teacher_logits_NC[indices], labels)


class Distiller:
    """Distils teachers into one model, round after round.

    Args:
        model: the student; trained in place.
        config: epochs, batches, optimiser, loss.
        temperature: T of the soft loss.
        alpha: weight of the soft loss; below 1 needs labels.
        label_smoothing: share of a hard label spread over all classes.
        keep_optimizer: whether the optimiser's moments outlive a call to `distil`.
        holdout_fraction: share of the samples held out of the training and used to measure; 0 for none.
        patience: epochs without a better held-out loss after which to stop and return to the best; 0 for never.
        shards: parts into which each batch is cut; see `fedkd.distillation.shards`.
        exchange: the workers that share the shards; each of them calls `distil` with the same arguments.
    """

    def __init__(
        self,
        model: nn.Module,
        config: DistillationConfig,
        *,
        temperature: float = 1.0,
        alpha: float = 1.0,
        label_smoothing: float = 0.0,
        keep_optimizer: bool = False,
        holdout_fraction: float = 0.0,
        patience: int = 0,
        shards: int = 1,
        exchange: Exchange | None = None,
    ) -> None:
        self.model, self.config = model, config
        self.temperature, self.alpha, self.label_smoothing = temperature, alpha, label_smoothing
        self.holdout_fraction, self.patience = holdout_fraction, patience
        self.shards, self._exchange = shards, exchange or Alone()
        self._kept = make_optimizer(model.parameters(), config) if keep_optimizer else None

    def optimizer_state(self) -> OptimizerArrays:
        """What the optimiser remembers between calls to `distil`; nothing where it is not kept."""
        return {} if self._kept is None else read_optimizer(self._kept)

    def load_optimizer_state(self, arrays: OptimizerArrays) -> None:
        """Go on with what an optimiser remembered; without effect where it is not kept."""
        if self._kept is not None:
            load_optimizer(self._kept, arrays)

    def distil(self, public: PublicBatch, seed: int) -> Distillation:
        """Train the model on the teacher's answers; `seed` fixes the order, the held-out part and dropout layers.

        Raises:
            RoundError: the loss is no longer finite.
        """
        rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
        held_out, training = self._split(public, rng)
        optimizer = self._kept or make_optimizer(self.model.parameters(), self.config)
        backward = backward_whole
        if self.shards > 1:
            backward = ShardedBackward(self.model, self.shards, self._exchange, derive_seed(seed, "shards"))
        losses: list[float] = []
        best_loss, best_state, best_epoch = float("inf"), None, 0
        with isolated_torch_rng(derive_seed(seed, "layers")):
            for epoch in range(1, self.config.epochs + 1):
                order = batches(len(training.images_NCHW), self.config.batch_size, rng)
                losses.append(
                    run_epoch(
                        self.model,
                        optimizer,
                        order,
                        lambda indices: self._loss(training.take(indices)),
                        max_grad_norm=self.config.max_grad_norm,
                        backward=backward,
                    )
                )
                if not math.isfinite(losses[-1]):
                    rate = self.config.learning_rate
                    raise RoundError(
                        f"distillation diverged in epoch {epoch}; lower its learning_rate, which is {rate}"
                    )
                if held_out is None or self.patience == 0:
                    continue
                held_out_loss = self._held_out_loss(held_out)
                if held_out_loss < best_loss:
                    best_loss, best_epoch = held_out_loss, epoch
                    best_state = copy.deepcopy(self.model.state_dict())
                elif epoch - best_epoch >= self.patience:
                    break
        stopped_early = len(losses) < self.config.epochs
        if best_state is not None:
            self.model.load_state_dict(best_state)
        return Distillation(
            epochs=len(losses),
            first_loss=losses[0] if losses else 0.0,
            last_loss=losses[-1] if losses else 0.0,
            agreement=self._agreement(held_out or training),
            stopped_early=stopped_early,
        )

    def _split(self, public: PublicBatch, rng: torch.Generator) -> tuple[PublicBatch | None, PublicBatch]:
        num_held_out = int(len(public.images_NCHW) * self.holdout_fraction)
        if num_held_out == 0:
            return None, public
        order = torch.randperm(len(public.images_NCHW), generator=rng)
        return public.take(order[:num_held_out]), public.take(order[num_held_out:])

    def _loss(self, batch: PublicBatch) -> Tensor:
        return distillation_loss(
            self.model(batch.images_NCHW),
            batch.teacher_logits_NC,
            batch.labels_N,
            temperature=self.temperature,
            alpha=self.alpha,
            label_smoothing=self.label_smoothing,
            soft_loss=SOFT_LOSSES[self.config.loss],
        )

    def _held_out_loss(self, held_out: PublicBatch) -> float:
        logits = torch.from_numpy(predict_logits(self.model, held_out.images_NCHW))
        loss = SOFT_LOSSES[self.config.loss](logits, held_out.teacher_logits_NC.cpu(), self.temperature)
        return float(loss)

    def _agreement(self, public: PublicBatch) -> float:
        student = predict_together(self.model, public.images_NCHW, self._exchange).argmax(axis=1)
        return float((student == public.teacher_logits_NC.cpu().numpy().argmax(axis=1)).mean())
