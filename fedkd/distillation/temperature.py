"""Choosing the temperature of a distillation by validation: what each student of a grid is worth on held-out samples.

    dilemma    a low T teaches the teacher's choice, its mistakes included; a high T teaches its doubts, until hardly
               anything but doubt is left. A student that is more like its teacher is not always the better one
               (Stanton et al. 2021, "Does Knowledge Distillation Really Work?", arXiv:2106.05945).
    protocol   distil one student for each setting of the grid, all with the same seed, on the same samples; measure
               each on other samples; choose.

With labels of the held-out samples the student of the highest accuracy is chosen; equal ones by the lower loss.
Without, the one that agrees with the teacher most often; equal ones by the lower divergence. That is the best that can
be done then: of err(S) ≤ err(T) + P[S ≠ T] only the last term depends on the student (see `fedkd.distillation.bound`).
Whether a student copies its teacher's mistakes cannot be seen without labels, so neither can a T that is too low.

Guarantees:
    - `judge` is a pure function of logits. Every measure is taken at T = 1, so that settings can be compared.
    - Samples are paired: a setting is called worse where it is so by more than two standard errors of the difference.

Shape legend: N held-out samples · C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from fedkd.aggregation.base import DoubleArray, log_softmax
from fedkd.distillation.diagnosis import Answers, evidence_of, notes_on, reason_for, verdict_on
from fedkd.errors import ConfigError, PayloadError
from fedkd.records import TemperatureChoice, TemperatureTrial
from fedkd.types import FloatArray, IntArray


class Setting(NamedTuple):
    """A temperature and the weight of the soft loss."""

    temperature: float
    alpha: float = 1.0


class Mapper(Protocol):
    """Does independent work, as `fedkd.distillation.executor.Executor` does: in this process, or on workers of Ray."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """Return what `function` makes of each item, in the order of the items."""


def settings_of(grid: Iterable[float], alphas: Iterable[float] = (1.0,)) -> list[Setting]:
    """Return every temperature with every alpha.

    Raises:
        ConfigError: there is none, one occurs twice, T is not above 0, or alpha is outside [0, 1].
    """
    grid, alphas = tuple(grid), tuple(alphas)
    for name, values, allowed, fits in (
        ("grid", grid, "temperatures above 0, each once", lambda value: 0 < value < float("inf")),
        ("alphas", alphas, "weights from 0 to 1, each once", lambda value: 0 <= value <= 1),
    ):
        if not values or len(set(values)) < len(values) or not all(map(fits, values)):
            raise ConfigError(name, list(values), f"one or more {allowed}")
    return [Setting(float(temperature), float(alpha)) for alpha in alphas for temperature in grid]


def choose_setting(
    distil: Callable[[Setting], FloatArray],
    settings: Sequence[Setting],
    teacher_NC: FloatArray,
    labels_N: IntArray | None = None,
    *,
    executor: Mapper,
) -> TemperatureChoice:
    """Run the protocol.

    Args:
        distil: distils a new student at a setting and returns its logits on the held-out samples, [N, C]. It must use
            one seed for all settings, and survive pickling where the executor has other processes.
        settings: see `settings_of`.
        teacher_NC: the teacher's logits on the held-out samples.
        labels_N: their true classes, or `None` where nobody knows them.
        executor: where the students are distilled.

    Raises:
        ConfigError: no setting.
        PayloadError: logits that are not finite or not [N, C], or labels that are not N classes.
    """
    return judge(settings, executor.map(distil, settings), teacher_NC, labels_N)


def judge(
    settings: Sequence[Setting],
    students: Sequence[FloatArray],
    teacher_NC: FloatArray,
    labels_N: IntArray | None = None,
) -> TemperatureChoice:
    """Choose between students by their logits on held-out samples; arguments and errors as of `choose_setting`."""
    if not settings or len(students) != len(settings):
        raise ConfigError("settings", len(settings), f"one for each of the {len(students)} students, and at least one")
    _check(students, teacher_NC, labels_N)
    teacher_N = teacher_NC.argmax(axis=1)
    answers = [Answers.of(student_NC.argmax(axis=1), teacher_N, labels_N) for student_NC in students]
    measured = [
        _measure(setting, student_NC, teacher_NC, labels_N, answer)
        for setting, student_NC, answer in zip(settings, students, answers, strict=True)
    ]
    best = max(range(len(measured)), key=lambda index: _rank(measured[index]))
    trials = []
    for trial, answer in zip(measured, answers, strict=True):
        verdict = "chosen" if trial is measured[best] else verdict_on(trial, measured[best], answer, answers[best])
        evidence = evidence_of(trial, measured[best], answer, answers[best])
        trials.append(trial.model_copy(update={"verdict": verdict, "evidence": evidence}))
    return TemperatureChoice(
        temperature=settings[best].temperature,
        alpha=settings[best].alpha,
        samples=len(teacher_NC),
        classes=teacher_NC.shape[1],
        labelled=labels_N is not None,
        teacher_entropy=_entropy(log_softmax(teacher_NC)),
        teacher_accuracy=None if labels_N is None else float((teacher_N == labels_N).mean()),
        trials=tuple(trials),
        why=reason_for(trials[best], trials, len(teacher_NC)),
        notes=notes_on(trials[best], trials),
    )


def _rank(trial: TemperatureTrial) -> tuple[float, float, float]:
    """What the choice maximises; the lower T where nothing else tells two apart."""
    if trial.accuracy is not None and trial.loss is not None:
        return trial.accuracy, -trial.loss, -trial.temperature
    return trial.agreement, -trial.divergence, -trial.temperature


def _measure(
    setting: Setting, student_NC: FloatArray, teacher_NC: FloatArray, labels_N: IntArray | None, answers: Answers
) -> TemperatureTrial:
    student_log_probs, teacher_log_probs = log_softmax(student_NC), log_softmax(teacher_NC)
    divergence_N = (np.exp(teacher_log_probs) * (teacher_log_probs - student_log_probs)).sum(axis=1)
    trial = TemperatureTrial(
        temperature=setting.temperature,
        alpha=setting.alpha,
        agreement=float(answers.agrees_N.mean()),
        divergence=max(0.0, float(divergence_N.mean())),
        entropy=_entropy(student_log_probs),
        verdict="as good",
    )
    if labels_N is None or answers.right_N is None or answers.teacher_right_N is None:
        return trial
    wrong_N = ~answers.teacher_right_N
    return trial.model_copy(
        update={
            "accuracy": float(answers.right_N.mean()),
            "loss": float(-student_log_probs[np.arange(len(labels_N)), labels_N].mean()),
            "accuracy_teacher_right": _share(answers.right_N, answers.teacher_right_N),
            "accuracy_teacher_wrong": _share(answers.right_N, wrong_N),
            "agreement_teacher_wrong": _share(answers.agrees_N, wrong_N),
        }
    )


def _entropy(log_probs_NC: DoubleArray) -> float:
    """The mean entropy in nats."""
    return max(0.0, float(-(np.exp(log_probs_NC) * log_probs_NC).sum(axis=1).mean()))


def _share(event_N: npt.NDArray[np.bool_], among_N: npt.NDArray[np.bool_]) -> float | None:
    """How often an event occurs among some samples; `None` where there are none."""
    return float(event_N[among_N].mean()) if among_N.any() else None


def _check(students: Sequence[FloatArray], teacher_NC: FloatArray, labels_N: IntArray | None) -> None:
    if teacher_NC.ndim != 2 or teacher_NC.shape[0] < 1 or teacher_NC.shape[1] < 2:
        raise PayloadError("shape", f"teacher_NC has shape {teacher_NC.shape}; [held-out samples ≥ 1, classes ≥ 2]")
    for logits_NC in (teacher_NC, *students):
        if logits_NC.shape != teacher_NC.shape:
            raise PayloadError("shape", f"a student's logits have shape {logits_NC.shape}; {teacher_NC.shape}")
        if not np.isfinite(logits_NC).all():
            raise PayloadError("not_finite", "logits hold NaN or infinity; only finite ones can be compared")
    num_samples, num_classes = teacher_NC.shape
    if labels_N is not None and (
        labels_N.shape != (num_samples,) or labels_N.min() < 0 or labels_N.max() >= num_classes
    ):
        raise PayloadError("shape", f"labels_N has shape {labels_N.shape}; ({num_samples},), 0 to {num_classes - 1}")
