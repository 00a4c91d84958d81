"""Rules that bound what a few clients can do. They look at each client alone, so masking excludes them."""

from __future__ import annotations

import numpy as np

from fedkd.aggregation.base import Aggregator, DoubleArray
from fedkd.types import FloatArray


class MedianLogits(Aggregator):
    """The median over clients of each logit (coordinate-wise median, Yin et al. 2018, def. 1).

    Up to ⌈K/2⌉ − 1 clients cannot move a logit out of the range of the others. Where clients are skewed it costs
    accuracy even when nobody attacks: the few who know a class are outvoted.
    """

    def aggregate(self, logits_KNC: FloatArray) -> DoubleArray:
        """Median over the client axis."""
        return np.asarray(np.median(logits_KNC.astype(np.float64), axis=0))
