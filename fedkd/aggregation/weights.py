"""Averages of model weights, for the methods in which weights travel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Weights = dict[str, npt.NDArray[np.generic]]
"""A model's state dict as NumPy arrays."""


def weighted_average(weights_K: Sequence[Weights], num_examples_K: Sequence[int]) -> Weights:
    """Average state dicts, weighted by numbers of examples (FedAvg, McMahan et al. 2017, alg. 1).

    Sums run in float64 in the order given; every array keeps its dtype (integer buffers are rounded).

    Raises:
        ValueError: no weights, different keys or shapes, or a total weight that is not positive.
    """
    if not weights_K or len(weights_K) != len(num_examples_K):
        raise ValueError(f"{len(weights_K)} weights and {len(num_examples_K)} numbers of examples; as many, at least 1")
    total = sum(num_examples_K)
    if total <= 0:
        raise ValueError(f"num_examples_K sums to {total}; it must be positive")
    first = weights_K[0]
    shapes = {key: array.shape for key, array in first.items()}
    if any({key: array.shape for key, array in weights.items()} != shapes for weights in weights_K):
        raise ValueError("weights_K holds different architectures; only equal state dicts can be averaged")
    average: Weights = {}
    for key, example in first.items():
        mean = sum(
            np.asarray(weights[key], np.float64) * (n / total)
            for weights, n in zip(weights_K, num_examples_K, strict=True)
        )
        rounded = np.rint(mean) if np.issubdtype(example.dtype, np.integer) else mean
        average[key] = np.asarray(rounded, dtype=example.dtype)
    return average
