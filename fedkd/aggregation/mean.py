"""Means over clients: of logits, of probabilities, and weighted by each client's confidence in a sample."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fedkd.aggregation.base import DoubleArray, MeanAggregator, log_softmax
from fedkd.types import FloatArray

TINY = float(np.finfo(np.float64).tiny)


class MeanLogits(MeanAggregator):
    """(1/K) Σ z_k (FedMD, Li & Wang 2019, alg. 1; FedDF, Lin et al. 2020, eq. 1).

    A geometric mean of the clients' distributions: a client that is sure against a class vetoes it.
    """


class MeanProbabilities(MeanAggregator):
    """log((1/K) Σ softmax(z_k)) (DS-FL before sharpening, Itahara et al. 2021, eq. 12): a mixture of the clients'
    distributions.
    """

    def values(self, values_ND: FloatArray) -> DoubleArray:
        """softmax(z_k)."""
        return np.exp(log_softmax(values_ND))

    def largest_value(self, bound: float) -> float:
        """A probability is at most 1."""
        del bound
        return 1.0

    def finish(self, means_ND: DoubleArray, resolution: float = 0.0) -> DoubleArray:
        """Log of the mean probability; one below the resolution is taken to be as large as that."""
        return np.log(np.maximum(means_ND, max(resolution, TINY)))


class ConfidenceWeighted(MeanAggregator):
    """Σ w_k z_k / Σ w_k per sample, w_k = 1 − H(softmax(z_k))/log C plus a floor, at most 1: the lower the entropy H of
    a client on a sample, the more it says there. Sums of w·z and w suffice, so the rule survives masking.
    """

    weighted: ClassVar[bool] = True
    FLOOR = 1e-3

    def weights(self, values_ND: FloatArray) -> DoubleArray:
        """Confidence in each sample."""
        log_probs = log_softmax(values_ND)
        entropy_N = -(np.exp(log_probs) * log_probs).sum(axis=1)
        return np.asarray(((1 - entropy_N / np.log(values_ND.shape[1])).clip(0) + self.FLOOR) / (1 + self.FLOOR))
