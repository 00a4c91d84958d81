"""What the server does in a round: aggregate, distil, evaluate. Knows no Flower."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean

import numpy as np
from torch import nn

from fedkd.aggregation import Weights
from fedkd.config import ExperimentConfig
from fedkd.distillation import Distiller
from fedkd.errors import RoundError
from fedkd.federation.messages import IndexArray, TrainInstruction
from fedkd.federation.weights import load_weights, read_weights
from fedkd.federation.workspace import Workspace
from fedkd.methods import Contribution, Method
from fedkd.payload import PayloadSeam
from fedkd.records import ClientScores, Distillation, StudentScore, TeacherScore
from fedkd.seeding import derive_seed, numpy_rng
from fedkd.training.evaluation import predict_logits, score
from fedkd.types import FloatArray


@dataclass
class Outcome:
    """What a round came to; `seconds` by phase."""

    student: StudentScore = field(default_factory=StudentScore)
    ensemble_teacher: TeacherScore = field(default_factory=TeacherScore)
    clients: ClientScores = field(default_factory=ClientScores)
    distillation: Distillation | None = None
    seconds: dict[str, float] = field(default_factory=dict)


class Server:
    """The server's models and its part of every round.

    A method with a student has one server model for each architecture that learns from the clients: that of
    `student.model`, and where weights travel those of the whole population.
    """

    def __init__(self, config: ExperimentConfig, method: Method, workspace: Workspace) -> None:
        self._config, self._method, self._workspace = config, method, workspace
        self._seam = PayloadSeam(config.payload)
        self._models: dict[str, nn.Module] = {}
        self._distillers: dict[str, Distiller] = {}
        self._consensus: tuple[IndexArray, FloatArray] | None = None
        if method.start is not None:
            for architecture in self._architectures():
                self._add_model(architecture)

    def _architectures(self) -> list[str]:
        student = self._config.student.model
        others = set(self._config.clients.models) - {student} if self._method.sends == "weights" else set()
        return [student, *sorted(others)]

    def _add_model(self, architecture: str) -> None:
        is_student = architecture == self._config.student.model
        path = ("student",) if is_student else ("student", architecture)
        model = self._workspace.build_model(architecture, derive_seed(self._config.run.seed, *path))
        student, method = self._config.student, self._config.method
        self._models[architecture] = model
        self._distillers[architecture] = Distiller(
            model,
            student,
            temperature=method.temperature,
            alpha=method.alpha,
            keep_optimizer=student.optimizer_state == "kept",
            holdout_fraction=student.holdout_fraction,
            patience=student.patience,
        )

    @property
    def student_weights(self) -> Weights | None:
        """The global student, or `None` for a method without one."""
        model = self._models.get(self._config.student.model)
        return None if model is None else read_weights(model)

    def public_indices(self, server_round: int) -> IndexArray:
        """Draw the public samples of a round, sorted."""
        num_public = len(self._workspace.data.public_images_NCHW)
        wanted = self._config.method.public_per_round or num_public
        rng = numpy_rng(self._config.run.seed, "public", "round", server_round)
        return np.sort(rng.choice(num_public, size=wanted, replace=False)).astype(np.int32)

    def instructions(self, server_round: int, indices_N: IndexArray) -> Mapping[str, TrainInstruction]:
        """What clients of each architecture are to do in this round."""
        instructions = {}
        for architecture in sorted(set(self._config.clients.models)):
            model = self._models.get(architecture) if self._method.adopts == "model" else None
            instructions[architecture] = TrainInstruction(
                server_round=server_round,
                public_indices_N=indices_N,
                weights=None if model is None else read_weights(model),
                consensus=None if model is not None else self._consensus,
                evaluate=self._config.evaluates_clients(server_round) and self._method.sends == "logits",
            )
        return instructions

    def finish_round(
        self,
        server_round: int,
        indices_N: IndexArray,
        contributions: Sequence[Contribution],
        test_logits: Sequence[FloatArray],
    ) -> Outcome:
        """Aggregate the contributions, distil, evaluate.

        Args:
            server_round: from 1.
            indices_N: the public samples that the contributions answered.
            contributions: one per client, in the order of clients; at least one.
            test_logits: answers of the same clients on the test split, to measure them; empty where nobody gave any.
        """
        outcome = Outcome()
        started = time.perf_counter()
        members = [] if self._method.sends == "logits" else [self._member(c) for c in contributions]
        teacher_NC = self._teacher(indices_N, contributions, members)
        self._start(contributions)
        aggregated = time.perf_counter()
        if teacher_NC is not None:
            self._consensus = (indices_N, teacher_NC)
            if self._method.distils:
                outcome.distillation = self._distil(server_round, indices_N, teacher_NC)
        distilled = time.perf_counter()
        if members and self._config.evaluates_clients(server_round):
            test_logits = [predict_logits(member, self._workspace.test_images_NCHW) for member in members]
        self._evaluate(outcome, test_logits)
        outcome.seconds = {
            "aggregation": aggregated - started,
            "distillation": distilled - aggregated,
            "evaluation": time.perf_counter() - distilled,
        }
        return outcome

    def unchanged(self) -> Outcome:
        """The outcome of a round in which nothing was learned: the old student and its score."""
        outcome = Outcome()
        self._evaluate(outcome, ())
        return outcome

    def _member(self, contribution: Contribution) -> nn.Module:
        """One member of the ensemble, rebuilt from its weights."""
        model = self._workspace.build_model(contribution.architecture, seed=0)
        load_weights(model, contribution.weights or {})
        return model

    def _teacher(
        self, indices_N: IndexArray, contributions: Sequence[Contribution], members: Sequence[nn.Module]
    ) -> FloatArray | None:
        if self._method.aggregate is None:
            return None
        if members:
            images_NCHW = self._workspace.public_images(indices_N)
            logits = [self._seam.bound(predict_logits(member, images_NCHW))[0] for member in members]
        else:
            logits = [c.logits_NC for c in contributions if c.logits_NC is not None]
        return self._method.teacher(np.stack(logits))

    def _start(self, contributions: Sequence[Contribution]) -> None:
        if self._method.start is None:
            return
        for architecture, model in self._models.items():
            of_this = [c for c in contributions if c.architecture == architecture]
            load_weights(model, self._method.start(read_weights(model), of_this))

    def _distil(self, server_round: int, indices_N: IndexArray, teacher_NC: FloatArray) -> Distillation:
        batch = self._workspace.public_batch(indices_N, teacher_NC)
        seed = derive_seed(self._config.run.seed, "server", "round", server_round, "distillation")
        results = {architecture: distiller.distil(batch, seed) for architecture, distiller in self._distillers.items()}
        return results[self._config.student.model]

    def _evaluate(self, outcome: Outcome, test_logits: Sequence[FloatArray]) -> None:
        labels_N = self._workspace.data.test.labels_N
        student = self._models.get(self._config.student.model)
        if student is not None:
            accuracy, loss = score(predict_logits(student, self._workspace.test_images_NCHW), labels_N)
            if not np.isfinite(loss):
                raise RoundError("the student diverged: its loss is not finite; lower the learning rates")
            outcome.student = StudentScore(accuracy=accuracy, loss=loss)
        if not test_logits:
            return
        accuracies = [score(logits_NC, labels_N).accuracy for logits_NC in test_logits]
        outcome.clients = ClientScores(mean_accuracy=mean(accuracies), worst_accuracy=min(accuracies))
        teacher_NC = self._method.teacher(np.stack([self._seam.bound(logits_NC)[0] for logits_NC in test_logits]))
        if teacher_NC is not None:
            outcome.ensemble_teacher = TeacherScore(accuracy=score(teacher_NC, labels_N).accuracy)
