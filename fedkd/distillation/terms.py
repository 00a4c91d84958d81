"""Terms of a distillation beside the loss on logits: weighted losses on what student and teacher compute on the way."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fedkd.distillation.objective import RelationConfig
from fedkd.errors import ConfigError, ModelError
from fedkd.losses.relational import RELATIONS

Features = Mapping[str, Tensor]
"""Outputs of modules by name, each [N, ...]."""
LOGITS = ""
"""The name of a model's own output, as `named_modules()` has it."""


@dataclass(frozen=True)
class Term:
    """weight · loss(student's features, teacher's features).

    Args:
        loss: takes two tensors [N, ...], or two lists of them where `student` and `teacher` are tuples; returns the
            mean over the batch. One that is a module (`fedkd.losses.HintLoss`) learns with the student.
        student: name of the student's module whose output counts; for several outputs (heads of tasks) a tuple.
        teacher: likewise of the teacher.
        weight: factor of the loss, at least 0.

    Raises:
        ConfigError: the weight is negative or not finite, or student and teacher name other numbers of modules.
    """

    loss: Callable[[Any, Any], Tensor]
    student: str | tuple[str, ...]
    teacher: str | tuple[str, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ConfigError("weight", self.weight, "finite and at least 0")
        pair = (self.student, self.teacher)
        if len({1 if isinstance(names, str) else (len(names), "several") for names in pair}) > 1:
            raise ConfigError("teacher", self.teacher, f"as many modules as the student's, which are {self.student!r}")

    def __call__(self, student: Features, teacher: Features) -> Tensor:
        """Return the weighted loss of one batch.

        Raises:
            ModelError: the teacher's features lack one that the term needs.
        """
        missing = [name for name in as_names(self.teacher) if name not in teacher]
        if missing:
            raise ModelError(f"the public batch lacks the teacher's features {missing}: let `answered_by` tap them")
        return self.weight * self.loss(_picked(student, self.student), _picked(teacher, self.teacher))


def relation_terms(relations: Iterable[RelationConfig]) -> tuple[Term, ...]:
    """The terms of a teacher that has logits only."""
    return tuple(Term(RELATIONS[each.loss], each.student, LOGITS, each.weight) for each in relations)


def as_names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    return (names,) if isinstance(names, str) else names


def student_taps(terms: Iterable[Term]) -> tuple[str, ...]:
    """The student's modules that terms look at."""
    return tuple(dict.fromkeys(name for term in terms for name in as_names(term.student)))


def teacher_taps(terms: Iterable[Term]) -> tuple[str, ...]:
    """The teacher's modules that terms look at."""
    return tuple(dict.fromkeys(name for term in terms for name in as_names(term.teacher)))


def learner_of(model: nn.Module, terms: Iterable[Term]) -> nn.Module:
    """The model together with what learns beside it: terms that are modules. The model itself where there are none."""
    modules = [term.loss for term in terms if isinstance(term.loss, nn.Module)]
    return nn.ModuleList([model, *modules]) if modules else model


def _picked(features: Features, names: str | tuple[str, ...]) -> Tensor | list[Tensor]:
    return features[names] if isinstance(names, str) else [features[name] for name in names]
