"""From a client's numbers to a vector over the ring, and from the sum of such vectors to means.

A value z in ±c becomes one of 2^j levels, rounded up or down at random so that its expectation is z; a vector holds
w · level(z) beside w. For the sum over clients Σ w · level(z) / Σ w is a mean of levels, and

    |decoded mean − mean of the clipped values| < step = 2c / (2^j − 1),

whatever is drawn; the expectation of the difference is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedkd.secure_aggregation import randomness
from fedkd.secure_aggregation.errors import InputError, UndefinedMeanError
from fedkd.secure_aggregation.masking import SEED_BYTES, RingArray, keystream_bytes
from fedkd.secure_aggregation.packing import ring_dtype
from fedkd.secure_aggregation.parameters import SessionParameters

DoubleArray = npt.NDArray[np.float64]
_UNIFORM_BITS = 32


@dataclass(frozen=True)
class DecodedSum:
    """What the server learns.

    Attributes:
        totals_GC: Σ w·v over the clients, v the clipped values, float64 [G, C].
        total_weights_G: sums of the weights, uint64 [G]; any of them may be zero.
        clipped_fraction: share of all clients' values that were clipped.
        counters_E: sums of the counters, uint64 [E].
    """

    totals_GC: DoubleArray
    total_weights_G: npt.NDArray[np.uint64]
    clipped_fraction: float
    counters_E: npt.NDArray[np.uint64]

    @property
    def means_GC(self) -> DoubleArray:
        """Weighted means of the clipped values, float64 [G, C].

        Raises:
            UndefinedMeanError: a total weight is zero.
        """
        if empty := int(np.count_nonzero(self.total_weights_G == 0)):
            number = len(self.total_weights_G)
            raise UndefinedMeanError(f"{empty} of {number} total weights are zero; their means do not exist")
        return self.totals_GC / self.total_weights_G[:, None].astype(np.float64)


def encode(
    values_GC: npt.ArrayLike, weights_G: npt.ArrayLike, parameters: SessionParameters, *, counters_E: Sequence[int] = ()
) -> RingArray:
    """Clip, round and weigh a client's values.

    Args:
        values_GC: finite real numbers [G, C].
        weights_G: integers [G], 0 ≤ w < 2^weight_bits.
        parameters: the session's.
        counters_E: non-negative integers [E].

    Returns:
        [w · level | w | number of values clipped | counters], of layout.vector_length entries.

    Raises:
        InputError: a shape differs, a value is not finite, a weight or counter is no integer or out of range.
    """
    layout = parameters.layout
    values = np.asarray(values_GC)
    if values.shape != (layout.num_weights, layout.values_per_weight):
        raise InputError(
            f"values_GC has shape {values.shape}; the layout has ({layout.num_weights}, {layout.values_per_weight})"
        )
    if values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        raise InputError(f"values_GC ({values.dtype}) holds NaN, infinity or what is no real number")
    weights = _integers("weights_G", weights_G, layout.num_weights, (1 << parameters.weight_bits) - 1)
    counters = _integers("counters_E", counters_E, layout.num_counters, parameters.largest_entry)

    vector = np.empty(layout.vector_length, ring_dtype(parameters.ring_bits))
    levels = vector[: layout.num_values].reshape(values.shape)
    num_clipped = _quantise(values, parameters, levels)
    levels *= weights[:, None].astype(vector.dtype)
    tail = vector[layout.num_values :]
    tail[: layout.num_weights] = weights
    tail[layout.num_weights] = num_clipped
    tail[layout.num_weights + 1 :] = counters
    return vector


def decode(total_V: RingArray, parameters: SessionParameters, num_clients: int) -> DecodedSum:
    """Turn the sum of `num_clients` encoded vectors into weighted sums, total weights and counters."""
    layout = parameters.layout
    levels_GC = total_V[: layout.num_values].reshape(layout.num_weights, layout.values_per_weight)
    tail = total_V[layout.num_values :].astype(np.uint64)
    weights_G = tail[: layout.num_weights]
    return DecodedSum(
        totals_GC=levels_GC * parameters.step - weights_G[:, None] * parameters.clipping_range,
        total_weights_G=weights_G,
        clipped_fraction=int(tail[layout.num_weights]) / (num_clients * layout.num_values),
        counters_E=tail[layout.num_weights + 1 :],
    )


def round_weights(weights_G: npt.ArrayLike, weight_bits: int) -> npt.NDArray[np.uint64]:
    """Turn real weights in [0, 1], such as confidences, into integer weights, without bias.

    Raises:
        InputError: a weight is not finite or not in [0, 1].
    """
    weights = np.asarray(weights_G, dtype=np.float64)
    if not ((weights >= 0) & (weights <= 1)).all():
        raise InputError("weights_G must be finite numbers in [0, 1]")
    largest = (1 << weight_bits) - 1
    return np.minimum(weights * largest + _uniform(weights.size).reshape(weights.shape), largest).astype(np.uint64)


def _quantise(values: npt.NDArray[np.generic], parameters: SessionParameters, levels: RingArray) -> int:
    """Write each value's level; returns how many values were clipped."""
    largest = (1 << parameters.value_bits) - 1
    exact = values.astype(np.float64)  # in which ±clipping_range is what it says; a float32's could lie levels beyond
    clipped = np.clip(exact, -parameters.clipping_range, parameters.clipping_range)
    num_clipped = int(np.count_nonzero(clipped != exact))
    clipped += parameters.clipping_range
    clipped *= largest / (2 * parameters.clipping_range)
    clipped += _uniform(values.size).reshape(values.shape)
    np.minimum(clipped, largest, out=clipped)
    levels[...] = clipped.astype(levels.dtype)
    return num_clipped


def _uniform(count: int) -> DoubleArray:
    """Numbers in [0, 1), multiples of 2^-32, from a fresh secret seed."""
    stream = keystream_bytes(randomness.token_bytes(SEED_BYTES), count * _UNIFORM_BITS // 8)
    return np.frombuffer(stream, "<u4") * 2.0**-_UNIFORM_BITS


def _integers(name: str, given: npt.ArrayLike, count: int, largest: int) -> npt.NDArray[np.uint64]:
    numbers = np.asarray(given)
    if numbers.size == 0:
        numbers = numbers.astype(np.uint64)
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        raise InputError(f"{name} has shape {numbers.shape} and dtype {numbers.dtype}; ({count},) integers are needed")
    if numbers.size and not 0 <= int(numbers.min()) <= int(numbers.max()) <= largest:
        raise InputError(f"{name} lies in [{numbers.min()}, {numbers.max()}]; 0 to {largest} are allowed")
    return numbers.astype(np.uint64)
