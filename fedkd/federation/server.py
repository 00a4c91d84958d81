"""What the server does in a round: aggregate, refine, distil, evaluate. Knows no Flower."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.aggregation import Stack, Weights
from fedkd.config.experiment import ExperimentConfig
from fedkd.distillation.executor import Executor
from fedkd.federation.answers import Answers, RoundArrays
from fedkd.federation.ensemble import Ensemble
from fedkd.federation.messages import Told, TrainInstruction
from fedkd.federation.scoring import complete_logits, score_student, score_teacher
from fedkd.federation.seams import honest_seam
from fedkd.federation.server_tasks import DistillationTask, ModelState, predict
from fedkd.federation.state import ToldStore, prefixed, under
from fedkd.federation.temperature_selection import TemperatureSelector
from fedkd.federation.weights import check_weights, read_weights
from fedkd.federation.workspace import Workspace
from fedkd.methods import Contribution, Method
from fedkd.payload import Arrays, Rows
from fedkd.records import (
    ClientScores,
    Confusion,
    Distillation,
    PrivacyEvent,
    StudentScore,
    TeacherScore,
    TemperatureChoice,
)
from fedkd.seeding import derive_seed, numpy_rng
from fedkd.training.evaluation import agreement, confusion
from fedkd.training.metrics import measure
from fedkd.types import IntArray


@dataclass
class Outcome:
    """What a round came to; `seconds` by phase, `arrays` for observers."""

    student: StudentScore = field(default_factory=StudentScore)
    ensemble_teacher: TeacherScore = field(default_factory=TeacherScore)
    clients: ClientScores = field(default_factory=ClientScores)
    distillation: Distillation | None = None
    temperature_choice: TemperatureChoice | None = None
    agreement: float | None = None
    confusion: Confusion | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    arrays: RoundArrays | None = None

    @property
    def scores(self) -> dict[str, Any]:
        """All but seconds and arrays, under the names of a `RoundRecord`."""
        return {name: value for name, value in vars(self).items() if name not in {"seconds", "arrays"}}


class Server:
    """The server's models, the state of the method's parts, and the server's part of every round.

    A method with a student has one server model for each architecture that learns from the clients: that of
    `student.model`, and where weights travel those of the whole population.

    Args:
        config: the experiment.
        method: its composed method.
        workspace: the server's data.
        executor: where distillation and prediction are done.

    Attributes:
        ensemble: makes a teacher of the clients.
    """

    def __init__(self, config: ExperimentConfig, method: Method, workspace: Workspace, executor: Executor) -> None:
        self._config, self._method, self._workspace, self._executor = config, method, workspace, executor
        self._seam, self._refinement = honest_seam(config), method.refinement
        self._models = {
            name: self._first_state(name) for name in method.server_models(config.student.model, config.clients.models)
        }
        self._temperature = TemperatureSelector(config, workspace, executor)
        self._told = ToldStore()
        self.ensemble = Ensemble(config, method, workspace, executor)
        self._spec = self.ensemble.spec
        self._refinement_state: Arrays = self._refinement.initial(len(self._all_keys()), self._spec.width)

    def _first_state(self, architecture: str) -> ModelState:
        is_student = architecture == self._config.student.model
        path = ("student",) if is_student else ("student", architecture)
        seed = derive_seed(self._config.run.seed, *path)
        return ModelState(read_weights(self._workspace.build_model(architecture, seed)))

    def _all_keys(self) -> IntArray:
        data = self._workspace.data
        return self._spec.asked(np.arange(len(data.public_inputs)), data.num_classes)

    @property
    def student_weights(self) -> Weights | None:
        """The global student, or `None` for a method without one."""
        student = self._models.get(self._config.student.model)
        return None if student is None else student.weights

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All that the server carries from round to round, as named arrays."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for architecture, model in self._models.items():
            arrays |= prefixed(f"{architecture}/weights/", model.weights)
            arrays |= prefixed(f"{architecture}/optimizer/", model.optimizer)
        return (
            arrays
            | prefixed("aggregator/", self.ensemble.state)
            | prefixed("refinement/", self._refinement_state)
            | prefixed("told/", self._told.state())
            | prefixed("temperature/", self._temperature.state())
        )

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `state` returned.

        Raises:
            PayloadError: the arrays are of other models.
        """
        for architecture, model in self._models.items():
            weights = under(arrays, f"{architecture}/weights/")
            check_weights(weights, model.weights)
            self._models[architecture] = ModelState(weights, under(arrays, f"{architecture}/optimizer/"))
        self.ensemble.state = under(arrays, "aggregator/")
        self._refinement_state = under(arrays, "refinement/")
        self._told.restore(under(arrays, "told/"))
        self._temperature.restore(under(arrays, "temperature/"))

    def drawn(self, server_round: int) -> IntArray:
        """Draw the public samples of a round, ascending; all classes where rows are keyed by class."""
        if self._spec.keys == "classes":
            return self._all_keys()
        num_public = len(self._workspace.data.public_inputs)
        wanted = self._config.method.public_per_round or num_public
        rng = numpy_rng(self._config.run.seed, "public", "round", server_round)
        return np.sort(rng.choice(num_public, size=wanted, replace=False))

    def asked(self, drawn_N: IntArray, server_round: int) -> IntArray:
        """The drawn keys that clients are asked for; the first of them where all would be known already."""
        asked_N = self._refinement.ask(drawn_N, server_round, self._refinement_state)
        return asked_N if len(asked_N) else drawn_N[:1]

    def instruction(self, server_round: int, asked_N: IntArray, client: int, used_round: int) -> TrainInstruction:
        """What a client is to do in this round."""
        model = self._models.get(self._config.client_model(client)) if self._method.adopts == "model" else None
        told = None
        if self._method.needs_told_rows(adopts_model=model is not None):
            told = self._told.of(client)
        rows_travel = self._method.rows_upload is not None
        return TrainInstruction(
            server_round=server_round,
            asked_N=asked_N.astype(np.int32),
            weights=None if model is None else model.weights,
            told=None if told is None else self._encoded(told),
            evaluate=self._config.evaluates_clients(server_round) and rows_travel,
            used_round=used_round,
            setting=self._temperature.chosen,
        )

    def privacy_events(self, asked_N: IntArray) -> tuple[PrivacyEvent, ...]:
        """What the steps of the payload do for the privacy of each client that answers."""
        upload = self._method.rows_upload
        if upload is None:
            return ()
        return self._seam.events(
            upload.spec(self._workspace.data.num_classes, self._config.payload.bound), len(asked_N)
        )

    def tells_apart(self, client: int) -> bool:
        """Whether this client is told rows of its own."""
        return client in self._told.each

    def _encoded(self, told: Rows) -> Told:
        return Told(told.keys_N.astype(np.int32), told.values_ND.shape[1], self._seam.encode_down(told))

    def finish_round(self, server_round: int, drawn_N: IntArray, answers: Answers) -> Outcome:
        """Refine the teacher, distil, evaluate.

        Args:
            server_round: from 1.
            drawn_N: the keys that were drawn for the round.
            answers: what the clients said.
        """
        started = time.perf_counter()
        outcome, teacher = Outcome(clients=answers.clients), None
        if answers.fresh is not None:
            teacher, self._refinement_state = self._refinement.refine(
                answers.fresh, drawn_N, server_round, self._refinement_state
            )
        self._start(answers.contributions)
        aggregated = time.perf_counter()
        if teacher is not None and len(teacher):
            if self._method.distils != "nothing":
                self._distil(outcome, server_round, teacher)
            self._tell(teacher, answers.stack)
        distilled = time.perf_counter()
        test = None if answers.test is None else self._refinement.measured(answers.test)
        self._evaluate(outcome, test, is_last=server_round == self._config.run.rounds)
        outcome.arrays = self._arrays(answers.contributions, teacher)
        outcome.seconds = {
            "aggregation": aggregated - started + answers.seconds.get("aggregation", 0.0),
            "distillation": distilled - aggregated,
            "evaluation": time.perf_counter() - distilled + answers.seconds.get("evaluation", 0.0),
        }
        return outcome

    def unchanged(self) -> Outcome:
        """The outcome of a round in which nothing was learned: the old student and its score."""
        outcome = Outcome()
        self._evaluate(outcome, None, is_last=False)
        return outcome

    def _start(self, contributions: Sequence[Contribution]) -> None:
        if self._method.start is None:
            return
        for architecture, model in self._models.items():
            of_this = [c for c in contributions if c.architecture == architecture]
            weights = self._method.start(model.weights, of_this)
            check_weights(weights, model.weights)
            self._models[architecture] = replace(model, weights=weights)

    def _distil(self, outcome: Outcome, server_round: int, teacher: Rows) -> None:
        seed = derive_seed(self._config.run.seed, "server", "round", server_round, "distillation")
        student, reports = self._config.student.model, {}
        task = DistillationTask(
            self._config, student, self._models[student], teacher.keys_N, teacher.values_ND, seed, server_round
        )
        outcome.temperature_choice = self._temperature.choose(server_round, task)
        task = replace(task, config=self._temperature.config)
        for architecture in list(self._models) if self._method.distils == "all" else [student]:
            own = replace(task, architecture=architecture, state=self._models[architecture])
            self._models[architecture], reports[architecture] = self._executor.run_collective(
                own, self._config.student.shards
            )
        outcome.distillation = reports[student]

    def _tell(self, teacher: Rows, stack: Stack | None) -> None:
        """Keep what clients are told in the next round."""
        tells = self._method.tells
        if tells == "student":
            student = [(self._config.student.model, self._models[self._config.student.model].weights)]
            (logits_NC,) = predict(self._executor, self._config, student, teacher.keys_N)
            teacher = Rows.of(teacher.keys_N, logits_NC)
        self._told.everybody = teacher
        if callable(tells) and stack is not None:
            self._told.each = dict(tells(stack, teacher))

    def _evaluate(self, outcome: Outcome, test: Rows | None, *, is_last: bool) -> None:
        """Score student and teacher on the test split."""
        labels_M, student_MC = self._workspace.data.test.labels_N, None
        if (weights := self.student_weights) is not None:
            (student_MC,) = predict(self._executor, self._config, [(self._config.student.model, weights)])
            outcome.student = score_student(student_MC, labels_M)
            outcome.metrics |= measure(self._config.run.metrics, "student", student_MC, labels_M)
        teacher_MC = complete_logits(test, len(labels_M), self._workspace.data.num_classes)
        if teacher_MC is not None:
            outcome.ensemble_teacher = score_teacher(teacher_MC, labels_M)
            outcome.metrics |= measure(self._config.run.metrics, "ensemble_teacher", teacher_MC, labels_M)
        if student_MC is not None and teacher_MC is not None:
            outcome.agreement = agreement(student_MC, teacher_MC)
        if is_last:
            outcome.confusion = confusion(student_MC, teacher_MC, labels_M)

    def _arrays(self, contributions: Sequence[Contribution], teacher: Rows | None) -> RoundArrays:
        return RoundArrays(
            client_rows={c.client: c.rows for c in contributions if c.rows is not None},
            client_weights={c.client: c.weights for c in contributions if c.weights is not None},
            teacher=teacher,
            student=self.student_weights,
        )
