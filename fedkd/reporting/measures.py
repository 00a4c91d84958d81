"""What is read off a record, under the names that tables, plots and event files share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from fedkd.records import Confusion, RoundRecord, RunRecord, Seconds

Measure = Literal["student", "ensemble_teacher", "clients_mean", "clients_worst"]

ACCURACIES: Mapping[Measure, Callable[[RoundRecord | RunRecord], float | None]] = {
    "student": lambda record: record.student.accuracy,
    "ensemble_teacher": lambda record: record.ensemble_teacher.accuracy,
    "clients_mean": lambda record: record.clients.mean_accuracy,
    "clients_worst": lambda record: record.clients.worst_accuracy,
}
"""Accuracy on the global test split, a fraction in [0, 1], by whose it is."""

BALANCED: Mapping[str, Callable[[RunRecord], float | None]] = {
    "student": lambda run: run.student.balanced_accuracy,
    "ensemble teacher": lambda run: run.ensemble_teacher.balanced_accuracy,
    "clients, mean": lambda run: run.clients.mean_balanced_accuracy,
    "local-only": lambda run: run.baselines.local_only_balanced,
    "centralised": lambda run: run.baselines.centralised_balanced,
}
"""Balanced accuracy on the global test split, a fraction in [0, 1], by whose it is."""

LABELS: Mapping[Measure, str] = {
    "student": "student",
    "ensemble_teacher": "ensemble teacher",
    "clients_mean": "clients, mean",
    "clients_worst": "clients, worst",
}

PHASES: tuple[str, ...] = tuple(name for name in Seconds.model_fields if name != "total")
"""The phases of a round, in the order in which they happen."""


def phase_seconds(seconds: Seconds) -> dict[str, float]:
    """Return the seconds of each phase, in the order of `PHASES`; the total is left out."""
    return {phase: float(getattr(seconds, phase)) for phase in PHASES}


def curve(run: RunRecord, measure: Measure) -> list[float | None]:
    """Return one accuracy per recorded round, `None` where it was not measured."""
    return [ACCURACIES[measure](record) for record in run.history]


def measured(run: RunRecord) -> list[Measure]:
    """Return the measures that at least one round of `run` holds."""
    return [measure for measure in ACCURACIES if any(value is not None for value in curve(run, measure))]


def last_confusion(run: RunRecord) -> Confusion | None:
    """Return the confusion matrices of the last round, or `None` where it is not over or they were not recorded."""
    return run.history[-1].confusion if run.history else None


def last_agreement(run: RunRecord) -> float | None:
    """Return the share of the test split on which student and teacher last agreed, `None` where nobody measured it."""
    return next((record.agreement for record in reversed(run.history) if record.agreement is not None), None)


def lost_replies(run: RunRecord) -> dict[str, int]:
    """Return how many replies were refused, dropped and late over all rounds."""
    return {
        "refused": sum(len(record.refused) for record in run.history),
        "dropped": sum(len(record.dropped) for record in run.history),
        "late": sum(len(record.late) for record in run.history),
    }
