"""What images and tokenised texts have in common as arrays: labels, fingerprints, and a model's input.

Shape legend: N samples · C channels · H height · W width · L tokens of a text.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.errors import DataError


def check_labels(labels_N: Any, num_samples: int, what: str) -> None:
    """Refuse anything but one int64 label, not negative, for each of `num_samples` samples.

    Raises:
        DataError: `labels_N` is something else; `what` names the samples in the message.
    """
    if not isinstance(labels_N, np.ndarray) or labels_N.dtype != np.int64 or labels_N.ndim != 1:
        raise DataError(f"labels_N is {described(labels_N)}; allowed: an int64 array of shape (N,)")
    if len(labels_N) != num_samples:
        raise DataError(f"labels_N holds {len(labels_N)} labels for {num_samples} {what}; allowed: one each")
    if len(labels_N) and labels_N.min() < 0:
        raise DataError(f"labels_N holds {labels_N.min()}; allowed: classes from 0")


def sha256_of(*arrays: npt.NDArray[Any]) -> str:
    """Return the SHA-256 over shapes, dtypes and bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def described(value: object) -> str:
    """What a value is, in words."""
    if isinstance(value, np.ndarray):
        return f"a {value.dtype} array of shape {value.shape}"
    return f"a {type(value).__name__}"
