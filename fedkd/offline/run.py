"""Train a teacher, let it answer the public samples, distil a student, and measure both on the test split."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from fedkd.aggregation import Weights
from fedkd.data.federated import cached_federated_data
from fedkd.distillation import Distiller, PublicBatch, Term, answered_by
from fedkd.distillation.terms import teacher_taps
from fedkd.errors import ModelError
from fedkd.federation.weights import read_weights
from fedkd.federation.workspace import Workspace, resolve_device
from fedkd.losses import (
    HiddenStateLoss,
    HintLoss,
    angle_loss,
    attention_loss,
    attention_matrix_loss,
    distance_loss,
    similarity_loss,
    task_geometry_loss,
)
from fedkd.offline.config import OfflineConfig, TermConfig
from fedkd.records import Distillation, RoundRecord, Seconds, StudentScore, TeacherScore
from fedkd.seeding import derive_seed, isolated_torch_rng
from fedkd.storage.tensors import unpack
from fedkd.training.evaluation import agreement, balanced_accuracy, confusion, predict_logits, score
from fedkd.training.loop import train_supervised

_LOSSES: Mapping[str, Callable[..., Tensor]] = MappingProxyType(
    {
        "attention": attention_loss,
        "attention_matrices": attention_matrix_loss,
        "similarity": similarity_loss,
        "distance": distance_loss,
        "angle": angle_loss,
        "geometry": task_geometry_loss,
    }
)
_PROBE_SAMPLES = 2


@dataclass(frozen=True)
class OfflineDistillation:
    """A distillation that is ready to begin: its data, its two models, and its terms, which fit them."""

    config: OfflineConfig
    workspace: Workspace
    teacher: nn.Module
    student: nn.Module
    terms: tuple[Term, ...]

    def run(self) -> tuple[Weights, RoundRecord]:
        """Do it all; returns the student's weights, and what was reached as a record of one round.

        Raises:
            RoundError: the distillation diverged.
        """
        marks = [time.perf_counter()]
        losses = self.train_teacher()
        marks.append(time.perf_counter())
        public = self.answers()
        marks.append(time.perf_counter())
        distillation = self.distil(public)
        marks.append(time.perf_counter())
        record = self._measure(distillation)
        marks.append(time.perf_counter())
        trained, answered, distilled, evaluated = (after - before for before, after in pairwise(marks))
        seconds = Seconds(
            total=marks[-1] - marks[0],
            local_training=trained,
            public_inference=answered,
            distillation=distilled,
            evaluation=evaluated,
        )
        train_loss = losses[-1] if losses else None
        return read_weights(self.student), record.model_copy(update={"seconds": seconds, "train_loss": train_loss})

    def train_teacher(self) -> list[float]:
        """Train it on all private samples, unless its weights were given."""
        if self.config.teacher.weights:
            return []
        images_NCHW, labels_N = self.workspace.client(0)
        seed = derive_seed(self.config.run.seed, "teacher", "training")
        num_classes = self.workspace.data.num_classes
        return train_supervised(
            self.teacher, images_NCHW, labels_N, self.config.teacher, num_classes=num_classes, seed=seed
        )

    def answers(self) -> PublicBatch:
        """What the teacher answers the public samples, computed once."""
        workspace = self.workspace
        return answered_by(self.teacher, workspace.public_inputs, workspace.public_labels_N, teacher_taps(self.terms))

    def distil(self, public: PublicBatch) -> Distillation:
        """Let the student learn from these answers."""
        distiller = Distiller(self.student, self.config.student, terms=self.terms)
        return distiller.distil(public, derive_seed(self.config.run.seed, "student", "distillation"))

    def _measure(self, distillation: Distillation) -> RoundRecord:
        labels_N = self.workspace.data.test.labels_N
        student_NC, teacher_NC = (
            predict_logits(model, self.workspace.test_inputs) for model in (self.student, self.teacher)
        )
        accuracy, loss = score(student_NC, labels_N)
        return RoundRecord(
            server_round=1,
            completed=True,
            selected=(),
            replied=(),
            student=StudentScore(
                accuracy=accuracy, balanced_accuracy=balanced_accuracy(student_NC, labels_N), loss=loss
            ),
            ensemble_teacher=TeacherScore(
                accuracy=score(teacher_NC, labels_N).accuracy, balanced_accuracy=balanced_accuracy(teacher_NC, labels_N)
            ),
            distillation=distillation,
            agreement=agreement(student_NC, teacher_NC),
            confusion=confusion(student_NC, teacher_NC, labels_N),
        )


def open_offline(config: OfflineConfig) -> OfflineDistillation:
    """Load the data, build both models and the terms, and see that they fit, before anything is trained or written.

    Raises:
        DataError: the data cannot be read or divided as asked.
        ModelError: a model does not fit the data, or a term does not fit the models.
        RunFolderError: the file of the teacher's weights cannot be read.
    """
    device = resolve_device(config.run.device)
    workspace = Workspace(cached_federated_data(config.data, 1, config.run.seed), device)
    seed = config.run.seed
    teacher = workspace.build_model(config.teacher.model, derive_seed(seed, "teacher", "model"))
    student = workspace.build_model(config.student.model, derive_seed(seed, "student"))
    if config.teacher.weights:
        _load(teacher, Path(config.teacher.weights), config.teacher.model)
    probe = workspace.public_inputs[:_PROBE_SAMPLES]
    terms = [
        _term(term, student, teacher, probe, derive_seed(seed, "terms", number))
        for number, term in enumerate(config.terms)
    ]
    return OfflineDistillation(config, workspace, teacher, student, tuple(terms))


def _load(model: nn.Module, path: Path, name: str) -> None:
    try:
        model.load_state_dict({key: torch.from_numpy(array) for key, array in unpack(path).items()})
    except RuntimeError as cause:
        raise ModelError(f"teacher.weights = {str(path)!r} does not fit teacher.model = {name!r}") from cause


def _term(config: TermConfig, student: nn.Module, teacher: nn.Module, probe: Tensor, seed: int) -> Term:
    """Make a term and let it see two samples, so that shapes that do not fit are refused at once."""
    ours, theirs = (
        answered_by(model, probe, taps=names).teacher_features
        for model, names in ((student, config.student), (teacher, config.teacher))
    )
    loss: Callable[..., Tensor]
    if config.loss in ("hint", "hidden_states"):
        student_shape, teacher_shape = ours[config.student[0]].shape[1:], theirs[config.teacher[0]].shape[1:]
        with isolated_torch_rng(seed):
            if config.loss == "hint":
                loss = HintLoss(student_shape, teacher_shape).to(probe.device)
            else:
                loss = HiddenStateLoss(_width(student_shape), _width(teacher_shape)).to(probe.device)
    else:
        loss = _LOSSES[config.loss]
    several = config.loss == "geometry"
    term = Term(
        loss,
        config.student if several else config.student[0],
        config.teacher if several else config.teacher[0],
        config.weight,
    )
    with torch.no_grad():
        term(ours, theirs)
    return term


def _width(shape: Sequence[int]) -> int:
    if len(shape) != 2:
        raise ModelError(f"features of shape {tuple(shape)} are no hidden states: [L, D] of each sample")
    return shape[1]
