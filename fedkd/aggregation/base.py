"""What an aggregator is.

Guarantees, which every aggregator's contract test checks:
    - [K, N, C] finite logits in, [N, C] finite teacher logits out, float32.
    - The order of clients changes nothing beyond rounding, and identical clients give that client's distribution.
    - Nothing but finite logits of three dimensions is accepted.

Sums are taken in float64 in the order given; whoever wants equal bits passes clients in a fixed order.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from fedkd.errors import PayloadError
from fedkd.types import FloatArray

DoubleArray = npt.NDArray[np.float64]


def log_softmax(logits_NC: npt.NDArray[np.floating]) -> DoubleArray:
    """Log of the softmax over the last axis, in float64."""
    shifted = logits_NC.astype(np.float64) - logits_NC.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


class Aggregator(ABC):
    """Turns clients' logits into a teacher's.

    `sum_decomposable` says whether the teacher is a function of one sum over clients of what each computes alone.
    Only such rules can run where the server sees nothing but a masked sum.
    """

    sum_decomposable: ClassVar[bool] = False

    def __call__(self, logits_KNC: FloatArray) -> FloatArray:
        """Return the teacher's logits [N, C].

        Raises:
            PayloadError: not three dimensions, no client, fewer than two classes, or not finite.
        """
        if logits_KNC.ndim != 3 or logits_KNC.shape[0] < 1 or logits_KNC.shape[2] < 2:
            shape = logits_KNC.shape
            raise PayloadError("shape", f"logits_KNC has shape {shape}; [clients ≥ 1, samples, classes ≥ 2]")
        if not np.isfinite(logits_KNC).all():
            raise PayloadError("not_finite", "logits_KNC holds NaN or infinity; only finite logits can be aggregated")
        return self.aggregate(logits_KNC).astype(np.float32)

    @abstractmethod
    def aggregate(self, logits_KNC: FloatArray) -> DoubleArray:
        """Return the teacher's logits for input that was checked."""


class MeanAggregator(Aggregator):
    """An aggregator of the form finish(Σ_k w_k v(z_k) / Σ_k w_k): a mean of what each client computes alone.

    Attributes:
        weighted: whether a client has a weight for each sample; else all count alike.
    """

    sum_decomposable: ClassVar[bool] = True
    weighted: ClassVar[bool] = False

    def values(self, logits_NC: FloatArray) -> DoubleArray:
        """v(z): what the mean is taken of, [N, C]; the logits themselves unless overridden."""
        return logits_NC.astype(np.float64)

    def weights(self, logits_NC: FloatArray) -> DoubleArray:
        """A client's weights w [N], each in (0, 1]."""
        return np.ones(len(logits_NC))

    def largest_value(self, clipping_range: float) -> float:
        """A bound of |v(z)| for logits clipped to ±clipping_range."""
        return clipping_range

    def finish(self, means_NC: DoubleArray, resolution: float = 0.0) -> DoubleArray:
        """Turn the means into teacher logits [N, C]; means are only known to within `resolution`."""
        del resolution
        return means_NC

    def aggregate(self, logits_KNC: FloatArray) -> DoubleArray:
        """Sum in the order given, divide, finish."""
        total_NC, total_N1 = np.zeros(logits_KNC.shape[1:]), np.zeros((logits_KNC.shape[1], 1))
        for logits_NC in logits_KNC:
            weights_N1 = self.weights(logits_NC)[:, None]
            total_NC += weights_N1 * self.values(logits_NC)
            total_N1 += weights_N1
        return self.finish(total_NC / total_N1)
