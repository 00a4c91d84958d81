"""Scores of a round on the test split: of the student, of the clients, of their ensemble teacher."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

import numpy as np

from fedkd.errors import RoundError
from fedkd.payload import Rows
from fedkd.records import ClientScores, StudentScore, TeacherScore
from fedkd.training.evaluation import balanced_accuracy, score
from fedkd.types import FloatArray, IntArray


def score_student(logits_MC: FloatArray, labels_M: IntArray) -> StudentScore:
    """Score the global model.

    Raises:
        RoundError: its loss is not finite.
    """
    accuracy, loss = score(logits_MC, labels_M)
    if not np.isfinite(loss):
        raise RoundError("the student diverged: its loss is not finite; lower the learning rates")
    return StudentScore(accuracy=accuracy, balanced_accuracy=balanced_accuracy(logits_MC, labels_M), loss=loss)


def score_clients(logits_KMC: Sequence[FloatArray], labels_M: IntArray) -> ClientScores:
    """Score clients by what each answers; nothing is known without answers."""
    if not logits_KMC:
        return ClientScores()
    accuracies = [score(logits_MC, labels_M).accuracy for logits_MC in logits_KMC]
    return ClientScores(
        mean_accuracy=mean(accuracies),
        worst_accuracy=min(accuracies),
        mean_balanced_accuracy=mean(balanced_accuracy(logits_MC, labels_M) for logits_MC in logits_KMC),
    )


def score_teacher(logits_MC: FloatArray, labels_M: IntArray) -> TeacherScore:
    """Score the ensemble teacher by what it answers."""
    return TeacherScore(
        accuracy=score(logits_MC, labels_M).accuracy, balanced_accuracy=balanced_accuracy(logits_MC, labels_M)
    )


def complete_logits(rows: Rows | None, num_samples: int, num_classes: int) -> FloatArray | None:
    """The class logits [M, C] of a teacher's rows on the test split; `None` where rows are narrower, and where some
    sample has none, as a score over a part of the split could be compared with no other.
    """
    if rows is None or len(rows) != num_samples or rows.values_ND.shape[1] < num_classes:
        return None
    return rows.values_ND[:, :num_classes]
