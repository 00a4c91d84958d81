"""What a student can be worth, given its teacher: err(S) ≤ err(T) + P[S ≠ T].

The classes chosen by student and teacher are S and T, the true one is Y.

    proof      where S ≠ Y, the teacher is wrong (T ≠ Y), or right and S ≠ T; so 1[S≠Y] ≤ 1[T≠Y] + 1[S≠T], for every
               sample, hence for every mean of samples and for every distribution. It is the triangle inequality of the
               0/1 loss (Crammer, Kearns & Wortman 2008, "Learning from Multiple Sources", JMLR 9, on triangle
               inequalities of losses).
    exactly    err(S) = err(T) + P[S ≠ T, T = Y] − P[S = Y, T ≠ Y]: what was forgotten less what was corrected. The
               bound exceeds err(S) by 2·P[S = Y, T ≠ Y] + P[S ≠ Y, T ≠ Y, S ≠ T].

err(T) does not depend on the student. The other term needs no labels, so it can be measured on any samples of the
distribution that the student has not learnt from: of m such samples on which k disagree, P[S ≠ T] is at most the
Clopper-Pearson limit with probability 1 − δ (Clopper & Pearson 1934). On the public samples it has learnt from, the
disagreement is lower; the generalisation gap is the difference, and falls as the public set grows. The limit is of one
student that did not see the m samples; of many students, of which one is chosen on them, divide δ by their number.

Shape legend: N samples · C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from scipy.stats import beta

from fedkd.distillation.temperature import Mapper
from fedkd.errors import ConfigError, PayloadError
from fedkd.training.evaluation import agreement
from fedkd.types import FloatArray, IntArray


class TeacherBound(NamedTuple):
    """The terms of the bound on one set of labelled samples, as shares of them.

    `bound` is `teacher_error + disagreement`; `forgotten` is P[S ≠ T, T = Y], `corrected` is P[S = Y, T ≠ Y].
    """

    student_error: float
    teacher_error: float
    disagreement: float
    bound: float
    forgotten: float
    corrected: float


def teacher_bound(student_NC: FloatArray, teacher_NC: FloatArray, labels_N: IntArray) -> TeacherBound:
    """Return the terms of err(S) ≤ err(T) + P[S ≠ T] on samples, by the classes that logits choose.

    Raises:
        PayloadError: the shapes do not fit, or there are no samples.
    """
    _check(student_NC, teacher_NC)
    if labels_N.shape != (len(teacher_NC),):
        raise PayloadError("shape", f"labels_N has shape {labels_N.shape}; ({len(teacher_NC)},)")
    student_N, teacher_N = student_NC.argmax(axis=1), teacher_NC.argmax(axis=1)
    student_right_N, teacher_right_N = student_N == labels_N, teacher_N == labels_N
    teacher_error, disagreement = float((~teacher_right_N).mean()), float((student_N != teacher_N).mean())
    return TeacherBound(
        student_error=float((~student_right_N).mean()),
        teacher_error=teacher_error,
        disagreement=disagreement,
        bound=teacher_error + disagreement,
        forgotten=float((teacher_right_N & ~student_right_N).mean()),
        corrected=float((~teacher_right_N & student_right_N).mean()),
    )


def upper_limit(events: int, samples: int, delta: float = 0.05) -> float:
    """Return the largest probability under which so few events of independent samples are not rarer than `delta`.

    Args:
        events: how often it happened.
        samples: out of how many, at least 1.
        delta: probability that the limit is too low.

    Raises:
        ConfigError: events are not within the samples, or delta is not between 0 and 1.
    """
    if samples < 1 or not 0 <= events <= samples:
        raise ConfigError("events", events, f"from 0 to samples, which is {samples} and must be at least 1")
    if not 0 < delta < 1:
        raise ConfigError("delta", delta, "between 0 and 1")
    return 1.0 if events == samples else float(beta.ppf(1 - delta, events + 1, samples - events))


class Answered(NamedTuple):
    """What one student and its teacher answer on the samples it has learnt from, and on others; logits, [N, C]."""

    student_learnt_NC: FloatArray
    teacher_learnt_NC: FloatArray
    student_held_out_NC: FloatArray
    teacher_held_out_NC: FloatArray


class GapPoint(NamedTuple):
    """The disagreement of student and teacher for one size of the public set.

    `gap` is `held_out - learnt`; P[S ≠ T] is at most `limit` with probability 1 − delta.
    """

    size: int
    learnt: float
    held_out: float
    gap: float
    limit: float


def disagreement_gap(answered: Answered, delta: float = 0.05) -> GapPoint:
    """Return how much more a student disagrees with its teacher on samples that it has not learnt from.

    Raises:
        PayloadError: the shapes do not fit, or there are no samples.
    """
    _check(answered.student_learnt_NC, answered.teacher_learnt_NC)
    _check(answered.student_held_out_NC, answered.teacher_held_out_NC)
    learnt = 1 - agreement(answered.student_learnt_NC, answered.teacher_learnt_NC)
    differs_N = answered.student_held_out_NC.argmax(axis=1) != answered.teacher_held_out_NC.argmax(axis=1)
    held_out, limit = float(differs_N.mean()), upper_limit(int(differs_N.sum()), len(differs_N), delta)
    return GapPoint(len(answered.student_learnt_NC), learnt, held_out, held_out - learnt, limit)


def gap_curve(
    distil: Callable[[int], Answered], sizes: Sequence[int], *, executor: Mapper, delta: float = 0.05
) -> list[GapPoint]:
    """Measure the gap on growing public sets.

    Args:
        distil: distils a new student on the first so many public samples; must survive pickling where the executor has
            other processes.
        sizes: of the public set, each at least 1.
        executor: where students are distilled.
        delta: probability that the limit of one point is too low.

    Raises:
        ConfigError: no size, or one below 1.
    """
    if not sizes or min(sizes) < 1:
        raise ConfigError("sizes", list(sizes), "one or more sizes of the public set, each at least 1")
    return [disagreement_gap(answered, delta) for answered in executor.map(distil, sizes)]


def _check(student_NC: FloatArray, teacher_NC: FloatArray) -> None:
    if student_NC.shape != teacher_NC.shape or student_NC.ndim != 2 or not student_NC.size:
        shapes = f"{student_NC.shape} and {teacher_NC.shape}"
        raise PayloadError("shape", f"student and teacher logits have shapes {shapes}; equal [samples ≥ 1, classes]")
