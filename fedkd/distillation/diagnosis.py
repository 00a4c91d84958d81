"""What the trials of a temperature grid show, in words: which T is too low, which too high, and on what evidence.

    too low    worse than the chosen student although it is as much like the teacher: it is right less often where the
               teacher is wrong. Needs labels.
    too high   worse than the chosen student and less sure of itself: its entropy is higher.
    worse      worse, and neither; a trial of another alpha, or one whose pattern is another.
    as good    not worse by more than `STANDARD_ERRORS` standard errors of the difference on the same samples.

Worse means a lower accuracy, or without labels a lower agreement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedkd.records import TemperatureTrial
from fedkd.types import IntArray

BoolArray = npt.NDArray[np.bool_]

STANDARD_ERRORS = 2.0
"""How many standard errors of a paired difference tell two students apart."""


@dataclass(frozen=True)
class Answers:
    """Sample by sample: whether the student agrees with the teacher, and with labels whether each of them is right."""

    agrees_N: BoolArray
    right_N: BoolArray | None = None
    teacher_right_N: BoolArray | None = None

    @classmethod
    def of(cls, student_N: IntArray, teacher_N: IntArray, labels_N: IntArray | None) -> Answers:
        """Compare the classes that student and teacher choose, and the true ones where they are known."""
        if labels_N is None:
            return cls(student_N == teacher_N)
        return cls(student_N == teacher_N, student_N == labels_N, teacher_N == labels_N)

    @property
    def good_N(self) -> BoolArray:
        """What the choice goes by: right where labels are known, else in agreement."""
        return self.agrees_N if self.right_N is None else self.right_N


@dataclass(frozen=True)
class Difference:
    """By how much a share of samples is lower than another on the same samples, and the standard error of that."""

    mean: float
    error: float

    @property
    def is_clear(self) -> bool:
        """Whether it is above zero by enough standard errors."""
        return self.mean > STANDARD_ERRORS * self.error


def shortfall(of_N: BoolArray, from_N: BoolArray) -> Difference:
    """Return how much rarer `of_N` is than `from_N`; zero where there are no samples."""
    if not len(of_N):
        return Difference(0.0, 0.0)
    difference_N = from_N.astype(np.float64) - of_N
    return Difference(float(difference_N.mean()), float(difference_N.std() / math.sqrt(len(difference_N))))


def verdict_on(
    trial: TemperatureTrial, chosen: TemperatureTrial, answers: Answers, best: Answers
) -> Literal["as good", "too low", "too high", "worse"]:
    """Compare a trial with the chosen one."""
    if not shortfall(answers.good_N, best.good_N).is_clear:
        return "as good"
    if trial.alpha != chosen.alpha:
        return "worse"
    if trial.temperature > chosen.temperature and trial.entropy > chosen.entropy:
        return "too high"
    if trial.temperature < chosen.temperature and _copies_mistakes(answers, best):
        return "too low"
    return "worse"


def _copies_mistakes(answers: Answers, best: Answers) -> bool:
    """Whether a student is as much like the teacher, yet clearly right less often where the teacher is wrong."""
    if answers.right_N is None or best.right_N is None or answers.teacher_right_N is None:
        return False
    wrong_N = ~answers.teacher_right_N
    as_alike = not shortfall(answers.agrees_N, best.agrees_N).is_clear
    return as_alike and shortfall(answers.right_N[wrong_N], best.right_N[wrong_N]).is_clear


def evidence_of(trial: TemperatureTrial, chosen: TemperatureTrial, answers: Answers, best: Answers) -> str:
    """Return the figures that a verdict rests on."""
    what = "agreement" if trial.accuracy is None else "accuracy"
    parts = []
    if (trial.temperature, trial.alpha) != (chosen.temperature, chosen.alpha):
        lack = shortfall(answers.good_N, best.good_N)
        parts = [f"{what} {100 * lack.mean:.2f} ± {100 * lack.error:.2f} points below {named(chosen, trial)}"]
    if trial.accuracy is not None:
        parts.append(f"agreement {100 * trial.agreement:.1f} %")
    if trial.accuracy_teacher_wrong is not None:
        parts.append(f"right on {100 * trial.accuracy_teacher_wrong:.1f} % of what the teacher has wrong")
    return "; ".join([*parts, f"entropy {trial.entropy:.3f} nats"])


def reason_for(chosen: TemperatureTrial, trials: Sequence[TemperatureTrial], samples: int) -> str:
    """Say why the chosen trial was chosen."""
    alike = [named(trial, chosen) for trial in trials if trial.verdict == "as good"]
    others = f"; {', '.join(alike)} cannot be told from it" if alike else ""
    if chosen.accuracy is None:
        share = f"{100 * chosen.agreement:.2f} %"
        return f"its student agrees with the teacher most often: on {share} of {samples} held-out samples{others}"
    return f"its student is right most often: on {100 * chosen.accuracy:.2f} % of {samples} held-out samples{others}"


def notes_on(chosen: TemperatureTrial, trials: Sequence[TemperatureTrial]) -> tuple[str, ...]:
    """Say what is too low and too high, whether the grid ends too early, and what cannot be seen without labels."""
    notes = [
        f"{named(trial, chosen)} is {trial.verdict}: {trial.evidence}"
        for trial in trials
        if trial.verdict in ("too low", "too high")
    ]
    grid = sorted({trial.temperature for trial in trials})
    if len(grid) > 1 and chosen.temperature in (grid[0], grid[-1]):
        end, beyond = ("smallest", "smaller") if chosen.temperature == grid[0] else ("largest", "larger")
        notes.append(f"T = {chosen.temperature:g} is the {end} of the grid: a {beyond} one may be better")
    if chosen.accuracy is None:
        notes.append(
            "without labels only the disagreement of student and teacher is seen: a T that is too high shows, one that "
            "is too low, where the student copies the teacher's mistakes, does not"
        )
    return tuple(notes)


def named(trial: TemperatureTrial, other: TemperatureTrial) -> str:
    """Name a trial by its T, and its alpha where that differs from the other's."""
    alpha = "" if trial.alpha == other.alpha else f", alpha = {trial.alpha:g}"
    return f"T = {trial.temperature:g}{alpha}"
