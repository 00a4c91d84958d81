"""Rows: the one payload. What a client says in a round is, for some keys, a value each, with a weight.

FedMD's answers are rows keyed by public sample; the class means of FD and prototypes are rows keyed by class; a vote is
a row with a single 1. A weight of 0, like a key that is missing, means that the client says nothing for that key. A
mean over clients is Σ w·v / Σ w, which is what a masked sum gives, too.

Guarantees, for what `RowsSpec.checked` returns:
    - Keys are among those that were asked, ascending, each once; where rows carry no weights, all that were asked.
    - Values are finite float32 of the spec's width; weights are finite and from 0 to the spec's largest.
    - No value lies beyond ±bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedkd.errors import PayloadError
from fedkd.types import FloatArray, IntArray

Arrays = Mapping[str, npt.NDArray[Any]]
"""Named arrays: a message's record, and the state of any part between rounds."""

Keys = Literal["public", "classes"]
"""What keys number: public samples, or classes."""


PUBLIC_ANSWERS, CLASS_STATISTICS = "answers on public samples", "class statistics"
"""What rows reveal, in the words of a site's policy and audit log."""


@dataclass(frozen=True)
class Rows:
    """Values for N keys.

    Attributes:
        keys_N: int64, ascending, each once.
        values_ND: float32.
        weights_N: float32; 0 for a key without an answer.
    """

    keys_N: IntArray
    values_ND: FloatArray
    weights_N: FloatArray

    @classmethod
    def of(cls, keys_N: npt.ArrayLike, values_ND: npt.ArrayLike, weights_N: npt.ArrayLike | None = None) -> Rows:
        """Make rows of anything that NumPy can read; without weights each row has weight 1."""
        keys = np.asarray(keys_N, np.int64)
        weights = np.ones(len(keys), np.float32) if weights_N is None else np.asarray(weights_N, np.float32)
        return cls(keys, np.asarray(values_ND, np.float32), weights)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.keys_N)

    def dense(self, keys_N: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values [N, D] and weights [N] for exactly these keys (ascending, a superset of the own); 0 where there are
        none.
        """
        if np.array_equal(keys_N, self.keys_N):
            return self.values_ND, self.weights_N
        values_ND = np.zeros((len(keys_N), self.values_ND.shape[1]), np.float32)
        weights_N = np.zeros(len(keys_N), np.float32)
        places = np.searchsorted(keys_N, self.keys_N)
        values_ND[places], weights_N[places] = self.values_ND, self.weights_N
        return values_ND, weights_N

    def select(self, keys_N: IntArray) -> Rows:
        """The rows of those keys that are here, in ascending order."""
        some = np.isin(self.keys_N, keys_N)
        return Rows(self.keys_N[some], self.values_ND[some], self.weights_N[some])


@dataclass(frozen=True)
class RowsSpec:
    """What both ends know of rows before any are sent. It validates them, sizes masks and noise, and says to a site's
    policy and audit log what they reveal.

    Attributes:
        keys: what the keys number.
        width: D, values of a row.
        bound: no value lies beyond ±bound; infinity for none.
        norm: no row has a larger L2 norm; by default what the bound allows, bound·√D.
        weighted: whether rows carry weights and may be missing; else each asked key has a row of weight 1.
        largest_weight: no weight is larger.
        reveals: what the values say of the private data, in the words of a site's policy.
    """

    keys: Keys
    width: int
    bound: float = math.inf
    norm: float = math.inf
    weighted: bool = False
    largest_weight: float = 1.0
    reveals: str = PUBLIC_ANSWERS

    @property
    def row_norm(self) -> float:
        """The largest L2 norm of a row."""
        return min(self.norm, self.bound * math.sqrt(self.width))

    def asked(self, public_N: IntArray, num_classes: int) -> IntArray:
        """The keys that a round asks for: its public samples, or all classes."""
        return np.arange(num_classes) if self.keys == "classes" else np.asarray(public_N, np.int64)

    def checked(self, rows: Rows, asked_N: IntArray) -> Rows:
        """Validate rows where trust changes hands, and bound their values.

        Args:
            rows: what came, or is about to leave.
            asked_N: the keys that were asked for, ascending.

        Raises:
            PayloadError: a shape, a key, a weight, or a value that is not finite.
        """
        self._check_shapes(rows)
        if self.weighted:
            _check_keys(rows.keys_N, asked_N)
        elif not np.array_equal(rows.keys_N, asked_N):
            raise PayloadError("shape", f"rows for {len(rows)} keys; for each of the {len(asked_N)} that were asked")
        self._check_weights(rows.weights_N)
        if not np.isfinite(rows.values_ND).all():
            raise PayloadError("not_finite", "values_ND holds NaN or infinity; only finite values can be averaged")
        return self.bounded(rows)

    def bounded(self, rows: Rows) -> Rows:
        """Rows with no value beyond ±bound."""
        if math.isinf(self.bound):
            return rows
        return Rows(rows.keys_N, rows.values_ND.clip(-self.bound, self.bound), rows.weights_N)

    def _check_shapes(self, rows: Rows) -> None:
        if rows.keys_N.ndim != 1:
            raise PayloadError("shape", f"keys have shape {rows.keys_N.shape}; one dimension")
        expected, number = (len(rows), self.width), (len(rows),)
        if rows.values_ND.shape != expected or rows.weights_N.shape != number:
            given = f"values {rows.values_ND.shape} and weights {rows.weights_N.shape}"
            raise PayloadError("shape", f"rows have {given}; {expected} and {number}")
        for name, array in (("values", rows.values_ND), ("weights", rows.weights_N)):
            if array.dtype != np.float32:
                raise PayloadError("dtype", f"{name} are {array.dtype}; float32")

    def _check_weights(self, weights_N: FloatArray) -> None:
        if not self.weighted and not (weights_N == 1).all():
            raise PayloadError("weights", "a weight that is not 1, of rows that have none of their own")
        if not ((weights_N >= 0) & (weights_N <= self.largest_weight)).all():
            raise PayloadError("weights", f"a weight that is not from 0 to {self.largest_weight:g}")


def _check_keys(keys_N: IntArray, asked_N: IntArray) -> None:
    if not np.isin(keys_N, asked_N).all():
        raise PayloadError("keys", f"key {keys_N[~np.isin(keys_N, asked_N)][0]} was not asked for")
    if (np.diff(keys_N) <= 0).any():
        raise PayloadError("keys", "keys are not in ascending order, each once")
