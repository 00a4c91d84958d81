"""Bounding what one client can contribute."""

from __future__ import annotations

import numpy as np

from fedkd.types import FloatArray


def clip_logits(logits_NC: FloatArray, clipping_range: float) -> tuple[FloatArray, float]:
    """Clip every logit to [−clipping_range, clipping_range].

    Returns:
        The clipped logits, and the share of logits that were changed.
    """
    clipped = np.clip(logits_NC, -clipping_range, clipping_range)
    return clipped, float(np.mean(clipped != logits_NC))
