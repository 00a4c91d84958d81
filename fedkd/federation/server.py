"""What the server does in a round: aggregate, distil, evaluate. Knows no Flower."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig
from fedkd.distillation.executor import Executor
from fedkd.errors import RoundError
from fedkd.federation.messages import IndexArray, TrainInstruction
from fedkd.federation.secure.vector import SumOfClients
from fedkd.federation.server_tasks import DistillationTask, ModelState, predict
from fedkd.federation.temperature_selection import TemperatureSelector
from fedkd.federation.weights import check_weights, read_weights
from fedkd.federation.workspace import Workspace
from fedkd.methods import Contribution, Method
from fedkd.payload import PayloadSeam
from fedkd.records import ClientScores, Confusion, Distillation, StudentScore, TeacherScore, TemperatureChoice
from fedkd.seeding import derive_seed, numpy_rng
from fedkd.training.evaluation import agreement, balanced_accuracy, confusion, score
from fedkd.training.metrics import measure
from fedkd.types import FloatArray


@dataclass
class Outcome:
    """What a round came to; `seconds` by phase."""

    student: StudentScore = field(default_factory=StudentScore)
    ensemble_teacher: TeacherScore = field(default_factory=TeacherScore)
    clients: ClientScores = field(default_factory=ClientScores)
    distillation: Distillation | None = None
    temperature_choice: TemperatureChoice | None = None
    agreement: float | None = None
    confusion: Confusion | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def scores(self) -> dict[str, Any]:
        """All but the seconds, under the names of a `RoundRecord`."""
        return {name: value for name, value in vars(self).items() if name != "seconds"}


ScoreClients = Callable[[Outcome, Sequence[FloatArray]], FloatArray | None]
"""(outcome, what members answered on the test split) -> the ensemble teacher's logits there; scores what it knows."""


class Server:
    """The server's models and its part of every round.

    A method with a student has one server model for each architecture that learns from the clients: that of
    `student.model`, and where weights travel those of the whole population.

    Args:
        config: the experiment.
        method: its composed method.
        workspace: the server's data.
        executor: where distillation and prediction are done.
    """

    def __init__(self, config: ExperimentConfig, method: Method, workspace: Workspace, executor: Executor) -> None:
        self._config, self._method, self._workspace, self._executor = config, method, workspace, executor
        self._seam = PayloadSeam(config.payload)
        self._models = {
            name: self._first_state(name) for name in method.server_models(config.student.model, config.clients.models)
        }
        self._temperature = TemperatureSelector(config, workspace, executor)
        self._consensus: tuple[IndexArray, FloatArray] | None = None

    def _first_state(self, architecture: str) -> ModelState:
        is_student = architecture == self._config.student.model
        path = ("student",) if is_student else ("student", architecture)
        seed = derive_seed(self._config.run.seed, *path)
        return ModelState(read_weights(self._workspace.build_model(architecture, seed)))

    @property
    def student_weights(self) -> Weights | None:
        """The global student, or `None` for a method without one."""
        student = self._models.get(self._config.student.model)
        return None if student is None else student.weights

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that the server carries from round to round, as named arrays."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for architecture, model in self._models.items():
            arrays |= {f"{architecture}/weights/{key}": array for key, array in model.weights.items()}
            arrays |= {f"{architecture}/optimizer/{key}": array for key, array in model.optimizer.items()}
        if self._consensus is not None:
            arrays |= dict(zip(("consensus/indices", "consensus/logits"), self._consensus, strict=True))
        return arrays | {f"temperature/{key}": array for key, array in self._temperature.state().items()}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `state` returned.

        Raises:
            PayloadError: the arrays are of other models.
        """

        def under(prefix: str) -> dict[str, npt.NDArray[Any]]:
            return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

        for architecture, model in self._models.items():
            weights = under(f"{architecture}/weights/")
            check_weights(weights, model.weights)
            self._models[architecture] = ModelState(weights, under(f"{architecture}/optimizer/"))
        self._temperature.restore(under("temperature/"))
        consensus = under("consensus/")
        self._consensus = (consensus["indices"], consensus["logits"]) if consensus else None

    def public_indices(self, server_round: int) -> IndexArray:
        """Draw the public samples of a round, sorted."""
        num_public = len(self._workspace.data.public_inputs)
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
                weights=None if model is None else model.weights,
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
        started = time.perf_counter()
        members = [(c.architecture, c.weights) for c in contributions if c.weights is not None]
        teacher_NC = self._teacher(indices_N, contributions, members)
        self._start(contributions)
        evaluated = members if self._config.evaluates_clients(server_round) else []

        def score_clients(outcome: Outcome, answers: Sequence[FloatArray]) -> FloatArray | None:
            return self._score_clients(outcome, answers or test_logits)

        return self._learn(server_round, indices_N, teacher_NC, started, evaluated, score_clients)

    def finish_sum(self, server_round: int, indices_N: IndexArray, total: SumOfClients) -> Outcome:
        """The same where nothing is known but a sum: aggregate, distil, evaluate."""
        started = time.perf_counter()
        sharpen, test_teacher_MC = self._method.sharpen, total.test_teacher_MC

        def score_clients(outcome: Outcome, answers: Sequence[FloatArray]) -> FloatArray | None:
            del answers
            if test_teacher_MC is None:
                return None
            answered = total.num_clients * len(test_teacher_MC)
            outcome.clients = ClientScores(mean_accuracy=total.counts.num_correct / answered)
            return self._score_teacher(outcome, sharpen(test_teacher_MC))

        return self._learn(server_round, indices_N, sharpen(total.teacher_NC), started, [], score_clients)

    def _learn(
        self,
        server_round: int,
        indices_N: IndexArray,
        teacher_NC: FloatArray | None,
        started: float,
        members: Sequence[tuple[str, Weights]],
        score_clients: ScoreClients,
    ) -> Outcome:
        """What follows once there is a teacher."""
        outcome = Outcome()
        aggregated = time.perf_counter()
        if teacher_NC is not None:
            self._consensus = (indices_N, teacher_NC)
            if self._method.distils:
                self._distil(outcome, server_round, indices_N, teacher_NC)
        distilled = time.perf_counter()
        self._evaluate(outcome, members, score_clients, is_last=server_round == self._config.run.rounds)
        outcome.seconds = {
            "aggregation": aggregated - started,
            "distillation": distilled - aggregated,
            "evaluation": time.perf_counter() - distilled,
        }
        return outcome

    def unchanged(self) -> Outcome:
        """The outcome of a round in which nothing was learned: the old student and its score."""
        outcome = Outcome()
        self._evaluate(outcome)
        return outcome

    def _teacher(
        self, indices_N: IndexArray, contributions: Sequence[Contribution], members: Sequence[tuple[str, Weights]]
    ) -> FloatArray | None:
        if self._method.aggregate is None:
            return None
        if members:
            answers = predict(self._executor, self._config, members, indices_N)
            logits = [self._seam.bound(logits_NC)[0] for logits_NC in answers]
        else:
            logits = [c.logits_NC for c in contributions if c.logits_NC is not None]
        return self._method.teacher(np.stack(logits))

    def _start(self, contributions: Sequence[Contribution]) -> None:
        if self._method.start is None:
            return
        for architecture, model in self._models.items():
            of_this = [c for c in contributions if c.architecture == architecture]
            weights = self._method.start(model.weights, of_this)
            check_weights(weights, model.weights)
            self._models[architecture] = replace(model, weights=weights)

    def _distil(self, outcome: Outcome, server_round: int, indices_N: IndexArray, teacher_NC: FloatArray) -> None:
        seed = derive_seed(self._config.run.seed, "server", "round", server_round, "distillation")
        student, reports = self._config.student.model, {}
        task = DistillationTask(self._config, student, self._models[student], indices_N, teacher_NC, seed, server_round)
        outcome.temperature_choice = self._temperature.choose(server_round, task)
        task = replace(task, config=self._temperature.config)
        for architecture, model in self._models.items():
            own = replace(task, architecture=architecture, state=model)
            self._models[architecture], reports[architecture] = self._executor.gang(own, self._config.student.shards)
        outcome.distillation = reports[student]

    def _evaluate(
        self,
        outcome: Outcome,
        members: Sequence[tuple[str, Weights]] = (),
        score_clients: ScoreClients = lambda *_: None,
        is_last: bool = False,
    ) -> None:
        """Score student, clients and teacher on the test split; `score_clients` is given what the members answer."""
        labels_N = self._workspace.data.test.labels_N
        weights = self.student_weights
        students = [] if weights is None else [(self._config.student.model, weights)]
        answers = predict(self._executor, self._config, [*students, *members])
        student_NC = answers.pop(0) if students else None
        if student_NC is not None:
            accuracy, loss = score(student_NC, labels_N)
            if not np.isfinite(loss):
                raise RoundError("the student diverged: its loss is not finite; lower the learning rates")
            balanced = balanced_accuracy(student_NC, labels_N)
            outcome.student = StudentScore(accuracy=accuracy, balanced_accuracy=balanced, loss=loss)
            outcome.metrics |= measure(self._config.run.metrics, "student", student_NC, labels_N)
        teacher_NC = score_clients(outcome, answers)
        if student_NC is not None and teacher_NC is not None:
            outcome.agreement = agreement(student_NC, teacher_NC)
        if is_last:
            outcome.confusion = confusion(student_NC, teacher_NC, labels_N)

    def _score_clients(self, outcome: Outcome, test_logits: Sequence[FloatArray]) -> FloatArray | None:
        """Score the clients and their ensemble teacher; returns the teacher's logits where there is one."""
        if not test_logits:
            return None
        labels_N = self._workspace.data.test.labels_N
        accuracies = [score(logits_NC, labels_N).accuracy for logits_NC in test_logits]
        outcome.clients = ClientScores(
            mean_accuracy=mean(accuracies),
            worst_accuracy=min(accuracies),
            mean_balanced_accuracy=mean(balanced_accuracy(logits_NC, labels_N) for logits_NC in test_logits),
        )
        bounded = np.stack([self._seam.bound(logits_NC)[0] for logits_NC in test_logits])
        return self._score_teacher(outcome, self._method.teacher(bounded))

    def _score_teacher(self, outcome: Outcome, teacher_NC: FloatArray | None) -> FloatArray | None:
        if teacher_NC is not None:
            labels_N = self._workspace.data.test.labels_N
            outcome.ensemble_teacher = TeacherScore(
                accuracy=score(teacher_NC, labels_N).accuracy, balanced_accuracy=balanced_accuracy(teacher_NC, labels_N)
            )
            outcome.metrics |= measure(self._config.run.metrics, "ensemble_teacher", teacher_NC, labels_N)
        return teacher_NC
