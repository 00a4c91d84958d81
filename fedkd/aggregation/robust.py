"""Rules that limit what a few clients can do. They look at each client alone, so masking excludes them."""

from __future__ import annotations

import numpy as np

from fedkd.aggregation.base import Aggregator, Stack
from fedkd.payload.rows import Rows


class MedianLogits(Aggregator):
    """The median over clients of each logit (coordinate-wise median, Yin et al. 2018, def. 1); a client without a row
    for a key has no vote there.

    Up to ⌈K/2⌉ − 1 clients cannot move a logit out of the range of the others. Where clients are skewed it costs
    accuracy even when nobody attacks: the few who know a class are outvoted.
    """

    def combine(self, stack: Stack) -> Rows:
        """Median over the clients that answered."""
        some_N = (stack.weights_KN > 0).any(axis=0)
        values_KND = stack.values_KND[:, some_N].astype(np.float64)
        answered_KN = stack.weights_KN[:, some_N] > 0
        if answered_KN.all():
            return Rows.of(stack.keys_N[some_N], np.median(values_KND, axis=0))
        values_KND[~answered_KN] = np.nan
        return Rows.of(stack.keys_N[some_N], np.nanmedian(values_KND, axis=0))
