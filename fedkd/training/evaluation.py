"""Prediction and scores. Shapes: N samples, C classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fedkd.records import Confusion, Matrix
from fedkd.types import FloatArray, IntArray

PREDICTION_BATCH = 512
"""Samples of one forward pass. Whoever divides a prediction does it at multiples of this: the last bits of a logit
can depend on the size of its batch.
"""

MOST_CONFUSED_CLASSES = 100
"""Above this, confusion matrices are neither counted nor recorded: nobody could read them."""


class Score(NamedTuple):
    """Share of right top-1 predictions, and mean cross-entropy in nats."""

    accuracy: float
    loss: float


def predict_logits(model: nn.Module, images_NCHW: Tensor, batch_size: int = PREDICTION_BATCH) -> FloatArray:
    """Return the logits of `model` in evaluation mode, [N, C] float32 on the CPU."""
    model.eval()
    with torch.inference_mode():
        logits = [model(batch).float().cpu() for batch in torch.split(images_NCHW, batch_size)]
    return torch.cat(logits).numpy()


def score(logits_NC: FloatArray, labels_N: IntArray) -> Score:
    """Score logits against true classes. Ties go to the lowest class."""
    shifted = logits_NC.astype(np.float64) - logits_NC.max(axis=1, keepdims=True)
    log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    right = logits_NC.argmax(axis=1) == labels_N
    return Score(float(right.mean()), float(-log_probs[np.arange(len(labels_N)), labels_N].mean()))


def balanced_accuracy(logits_NC: FloatArray, labels_N: IntArray) -> float:
    """Return the mean over classes of the share of each that is right, over those that occur. Ties go to the lowest
    class (Brodersen et al. 2010, "The Balanced Accuracy and Its Posterior Distribution").
    """
    right_N = logits_NC.argmax(axis=1) == labels_N
    counts_C = np.bincount(labels_N)
    rights_C = np.bincount(labels_N, weights=right_N)
    return float((rights_C[counts_C > 0] / counts_C[counts_C > 0]).mean())


def agreement(first_NC: FloatArray, second_NC: FloatArray) -> float:
    """Return the share of samples on which two models choose the same class. Ties go to the lowest class."""
    return float((first_NC.argmax(axis=1) == second_NC.argmax(axis=1)).mean())


def confusion(student_NC: FloatArray | None, teacher_NC: FloatArray | None, labels_N: IntArray) -> Confusion | None:
    """Count right and wrong choices by class; `None` where there is no model, or more than 100 classes."""
    answers = [logits_NC for logits_NC in (student_NC, teacher_NC) if logits_NC is not None]
    if not answers or answers[0].shape[1] > MOST_CONFUSED_CLASSES:
        return None
    num_classes = answers[0].shape[1]
    student_N = None if student_NC is None else student_NC.argmax(axis=1)
    teacher_N = None if teacher_NC is None else teacher_NC.argmax(axis=1)
    return Confusion(
        student=_counted(labels_N, student_N, num_classes),
        ensemble_teacher=_counted(labels_N, teacher_N, num_classes),
        student_teacher=_counted(teacher_N, student_N, num_classes),
    )


def _counted(rows_N: IntArray | None, columns_N: IntArray | None, num_classes: int) -> Matrix | None:
    if rows_N is None or columns_N is None:
        return None
    counts_CC = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(counts_CC, (rows_N, columns_N), 1)
    return tuple(tuple(row) for row in counts_CC.tolist())
