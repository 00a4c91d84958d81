"""Prediction and scores. Shapes: N samples, C classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fedkd.types import FloatArray, IntArray

PREDICTION_BATCH = 512
"""Samples of one forward pass. Whoever divides a prediction does it at multiples of this: the last bits of a logit
can depend on the size of its batch.
"""


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
