"""What happens to the teacher after aggregation: post-processing of [N, C] logits, which masking allows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fedkd.aggregation.base import log_softmax
from fedkd.types import FloatArray

Sharpener = Callable[[FloatArray], FloatArray]


def unchanged(teacher_logits_NC: FloatArray) -> FloatArray:
    """Leave the teacher as it is."""
    return teacher_logits_NC


def entropy_reduction(era_temperature: float) -> Sharpener:
    """Entropy reduction: softmax(p / T), p the teacher's probabilities (DS-FL, Itahara et al. 2021, eq. 13).

    Whether it sharpens depends on T: of C nearly equal classes it widens the gaps where T < 1/C and narrows them
    where T > 1/C. It cannot reach past odds of exp(1/T), since p ≤ 1.
    """

    def sharpen(teacher_logits_NC: FloatArray) -> FloatArray:
        probs_NC = np.exp(log_softmax(teacher_logits_NC))
        return log_softmax(probs_NC / era_temperature).astype(np.float32)

    return sharpen
