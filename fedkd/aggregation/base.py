"""What an aggregator is: K clients' rows over the same keys become one teacher's.

    fit(stack of what was asked, state) ──▶ (rule, state)      once a round
    rule(stack) ──▶ teacher's rows                             on what was asked, and on what is only measured

Guarantees, which every aggregator's contract test checks:
    - Finite rows in, finite float32 rows out, one for each key for which a client has a weight above 0.
    - The order of clients changes nothing beyond rounding, and identical clients give that client's distribution.
    - Applying a rule changes no state, so that measuring moves nothing that learns.

Sums are taken in float64 in the order of clients.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from fedkd.errors import PayloadError
from fedkd.payload.rows import Arrays, Rows
from fedkd.types import FloatArray, IntArray

DoubleArray = npt.NDArray[np.float64]


def log_softmax(logits_NC: npt.NDArray[np.floating]) -> DoubleArray:
    """Log of the softmax over the last axis, in float64."""
    shifted = logits_NC.astype(np.float64) - logits_NC.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


@dataclass(frozen=True)
class Stack:
    """K clients' rows over the same N keys.

    Attributes:
        clients_K: who they are, ascending.
        keys_N: the keys.
        values_KND: 0 where a client has no row.
        weights_KN: weights of the rows; 0 where a client has none.
        num_examples_K: private samples of each client.
        server_round: from 1.
    """

    clients_K: tuple[int, ...]
    keys_N: IntArray
    values_KND: FloatArray
    weights_KN: FloatArray
    num_examples_K: tuple[int, ...] = ()
    server_round: int = 1

    @classmethod
    def of(
        cls,
        rows: Mapping[int, Rows],
        keys_N: IntArray,
        num_examples: Mapping[int, int] | None = None,
        server_round: int = 1,
    ) -> Stack:
        """Stack rows by client.

        Args:
            rows: of each client, for some of the keys.
            keys_N: all keys, ascending.
            num_examples: private samples of each client.
            server_round: from 1.
        """
        clients = tuple(sorted(rows))
        values, weights = zip(*(rows[client].dense(keys_N) for client in clients), strict=True)
        counts = tuple((num_examples or {}).get(client, 1) for client in clients)
        return cls(clients, keys_N, np.stack(values), np.stack(weights), counts, server_round)


Rule = Callable[[Stack], Rows]
"""Turns the clients' rows into the teacher's; it has what it needs from `Aggregator.fit`."""


class Aggregator(ABC):
    """Turns clients' rows into a teacher's.

    Attributes:
        needs: `"sum"` for a function of one sum over clients of what each computes alone, the only kind that can run
            where the server sees nothing but a masked sum; `"each"` for a rule that looks at each client.
    """

    needs: ClassVar[Literal["sum", "each"]] = "each"

    def __call__(self, values_KND: FloatArray) -> FloatArray:
        """Return the teacher's values [N, D] for rows [K, N, D] that all have weight 1, without a state.

        Raises:
            PayloadError: not three dimensions, no client, fewer than two values a row, or not finite.
        """
        if values_KND.ndim != 3 or values_KND.shape[0] < 1 or values_KND.shape[2] < 2:
            shape = values_KND.shape
            raise PayloadError("shape", f"values_KND has shape {shape}; [clients ≥ 1, rows, values ≥ 2]")
        if not np.isfinite(values_KND).all():
            raise PayloadError("not_finite", "values_KND holds NaN or infinity; only finite values can be aggregated")
        num_clients, num_rows, _ = values_KND.shape
        ones = np.ones((num_clients, num_rows), np.float32)
        clients = tuple(range(num_clients))
        stack = Stack(clients, np.arange(num_rows), values_KND, ones, (1,) * num_clients)
        return self.fit(stack, self.initial(clients))[0](stack).values_ND

    def initial(self, clients: Sequence[int]) -> Arrays:
        """The state before the first round; `clients` are all of the federation."""
        del clients
        return {}

    def fit(self, stack: Stack, state: Arrays) -> tuple[Rule, Arrays]:
        """Learn from what clients were asked in a round; returns the rule to apply, and the state after the round."""
        del stack
        return self.combine, state

    @abstractmethod
    def combine(self, stack: Stack) -> Rows:
        """The rule of an aggregator without a state. An aggregator with a state overrides `fit`."""


class MeanAggregator(Aggregator):
    """An aggregator of the form finish(Σ_k w_k v(z_k) / Σ_k w_k): a mean of what each client computes alone.

    w is the weight of a row times the aggregator's own.

    Attributes:
        weighted: whether the aggregator has a weight of its own for each row; else all of a client's count alike.
    """

    needs: ClassVar[Literal["sum", "each"]] = "sum"
    weighted: ClassVar[bool] = False

    def values(self, values_ND: FloatArray) -> DoubleArray:
        """v(z): what the mean is taken of, [N, D]; the values themselves unless overridden."""
        return values_ND.astype(np.float64)

    def weights(self, values_ND: FloatArray) -> DoubleArray:
        """A client's own weights [N], each in (0, 1]."""
        return np.ones(len(values_ND))

    def largest_value(self, bound: float) -> float:
        """A bound of |v(z)| for |z| ≤ bound."""
        return bound

    def finish(self, means_ND: DoubleArray, resolution: float = 0.0) -> DoubleArray:
        """Turn the means into the teacher's values [N, D]; means are only known to within `resolution`."""
        del resolution
        return means_ND

    def combine(self, stack: Stack) -> Rows:
        """Sum in the order of clients."""
        total_ND, total_N = np.zeros(stack.values_KND.shape[1:]), np.zeros(len(stack.keys_N))
        for values_ND, weights_N in zip(stack.values_KND, stack.weights_KN, strict=True):
            own_N = weights_N * self.weights(values_ND)
            total_ND += own_N[:, None] * self.values(values_ND)
            total_N += own_N
        return self.from_sums(stack.keys_N, total_ND, total_N)

    def from_sums(
        self, keys_N: IntArray, total_ND: DoubleArray, total_weight_N: DoubleArray, resolution: float = 0.0
    ) -> Rows:
        """The teacher of Σ w·v and Σ w, whether they were summed in clear or under masks; a row of total weight 0 is
        absent.
        """
        some = total_weight_N > 0
        means_ND = total_ND[some] / total_weight_N[some, None]
        return Rows.of(keys_N[some], self.finish(means_ND, resolution))
