"""Means over clients: of logits, of probabilities, and weighted by each client's confidence in a sample."""

from __future__ import annotations

import numpy as np

from fedkd.aggregation.base import DoubleArray, SumAggregator, log_softmax
from fedkd.types import FloatArray

TINY = float(np.finfo(np.float64).tiny)


class MeanLogits(SumAggregator):
    """(1/K) Σ z_k (FedMD, Li & Wang 2019, alg. 1; FedDF, Lin et al. 2020, eq. 1).

    A geometric mean of the clients' distributions: a client that is sure against a class vetoes it.
    """

    def contribution(self, logits_NC: FloatArray) -> DoubleArray:
        """z_k."""
        return logits_NC.astype(np.float64)

    def finish(self, total_ND: DoubleArray, num_clients: int) -> DoubleArray:
        """Divide by K."""
        return total_ND / num_clients


class MeanProbabilities(SumAggregator):
    """log((1/K) Σ softmax(z_k)) (DS-FL before sharpening, Itahara et al. 2021, eq. 12): a mixture of the clients'
    distributions.
    """

    def contribution(self, logits_NC: FloatArray) -> DoubleArray:
        """softmax(z_k)."""
        return np.exp(log_softmax(logits_NC))

    def finish(self, total_ND: DoubleArray, num_clients: int) -> DoubleArray:
        """Log of the mean probability."""
        return np.log(np.maximum(total_ND / num_clients, TINY))


class ConfidenceWeighted(SumAggregator):
    """Σ w_k z_k / Σ w_k per sample, w_k = 1 − H(softmax(z_k))/log C plus a floor: the lower the entropy H of a client
    on a sample, the more it says there. The pair (w·z, w) is summed, so the rule survives masking.
    """

    FLOOR = 1e-3

    def contribution(self, logits_NC: FloatArray) -> DoubleArray:
        """(w·z, w), [N, C + 1]."""
        log_probs = log_softmax(logits_NC)
        entropy_N = -(np.exp(log_probs) * log_probs).sum(axis=1)
        weight_N1 = (1 - entropy_N / np.log(logits_NC.shape[1])).clip(0)[:, None] + self.FLOOR
        return np.concatenate([weight_N1 * logits_NC, weight_N1], axis=1)

    def finish(self, total_ND: DoubleArray, num_clients: int) -> DoubleArray:
        """Divide by the summed weight, which the floor keeps positive."""
        del num_clients
        return np.asarray(total_ND[:, :-1] / total_ND[:, -1:])
