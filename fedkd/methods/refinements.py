"""Refinements: what happens to the teacher after aggregation, in the open, so that masking allows it.

A refinement may ask clients for fewer samples than were drawn, and may keep a state: a cache of soft labels asks only
for what is stale, and fills in the rest. Several are done in order; each asks for some of what the one after it asks
for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from fedkd.aggregation import log_softmax
from fedkd.errors import ConfigError
from fedkd.payload.rows import Arrays, Rows
from fedkd.types import IntArray


class Refinement:
    """Changes the teacher; this base leaves it as it is.

    Keys are public samples, or classes where the upload is a table of classes.
    """

    def initial(self, num_keys: int, width: int) -> Arrays:
        """The state before the first round, for keys from 0 to num_keys − 1 and rows of `width` values."""
        del num_keys, width
        return {}

    def ask(self, drawn_N: IntArray, server_round: int, state: Arrays) -> IntArray:
        """The keys to ask clients for, some of those that were drawn for the round, ascending; at least one."""
        del server_round, state
        return drawn_N

    def refine(self, fresh: Rows, drawn_N: IntArray, server_round: int, state: Arrays) -> tuple[Rows, Arrays]:
        """Return the teacher over drawn keys, and the state after the round.

        Args:
            fresh: the aggregate of what was asked.
            drawn_N: the keys that were drawn.
            server_round: from 1.
            state: as `initial` or the last call returned it.
        """
        del drawn_N, server_round
        return self.measured(fresh), state

    def measured(self, rows: Rows) -> Rows:
        """What of the refinement applies to rows that are only measured, such as the test split's; it has no state."""
        return rows


@dataclass(frozen=True)
class EntropyReduction(Refinement):
    """softmax(p / T), p the teacher's probabilities (DS-FL, Itahara et al. 2021, eq. 13).

    Whether it sharpens depends on T: of C nearly equal classes it widens the gaps where T < 1/C and narrows them
    where T > 1/C. It cannot reach past odds of exp(1/T), since p ≤ 1.
    """

    temperature: float = 0.1

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ConfigError("temperature", self.temperature, "above 0")

    def measured(self, rows: Rows) -> Rows:
        """Row by row."""
        probs_NC = np.exp(log_softmax(rows.values_ND))
        return replace(rows, values_ND=log_softmax(probs_NC / self.temperature).astype(np.float32))


REFINEMENTS: Mapping[str, Callable[..., Refinement]] = MappingProxyType({"entropy_reduction": EntropyReduction})
"""What `method.refine` takes, besides import paths."""


@dataclass(frozen=True)
class Refinements:
    """Several refinements as one; the state of number i has the prefix `i/`."""

    parts: Sequence[Refinement] = ()

    def initial(self, num_keys: int, width: int) -> dict[str, npt.NDArray[np.generic]]:
        """The states of all."""
        return {
            f"{number}/{name}": array
            for number, part in enumerate(self.parts)
            for name, array in part.initial(num_keys, width).items()
        }

    def ask(self, drawn_N: IntArray, server_round: int, state: Arrays) -> IntArray:
        """What all of them ask for, from the last to the first."""
        for number in reversed(range(len(self.parts))):
            drawn_N = self.parts[number].ask(drawn_N, server_round, _under(state, number))
        return drawn_N

    def refine(
        self, fresh: Rows, drawn_N: IntArray, server_round: int, state: Arrays
    ) -> tuple[Rows, dict[str, npt.NDArray[np.generic]]]:
        """One after the other."""
        after: dict[str, npt.NDArray[np.generic]] = {}
        for number, part in enumerate(self.parts):
            fresh, own = part.refine(fresh, drawn_N, server_round, _under(state, number))
            after |= {f"{number}/{name}": array for name, array in own.items()}
        return fresh, after

    def measured(self, rows: Rows) -> Rows:
        """One after the other."""
        for part in self.parts:
            rows = part.measured(rows)
        return rows


def _under(state: Arrays, number: int) -> Arrays:
    prefix = f"{number}/"
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
