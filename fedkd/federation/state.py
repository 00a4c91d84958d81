"""State as named arrays, and the rows that the server tells clients in the next round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.payload import Arrays, Rows

_ALL = "all"


def prefixed(prefix: str, arrays: Arrays) -> dict[str, npt.NDArray[Any]]:
    """The arrays with `prefix` before each name."""
    return {f"{prefix}{name}": array for name, array in arrays.items()}


def under(arrays: Arrays, prefix: str) -> dict[str, npt.NDArray[Any]]:
    """The arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


@dataclass
class ToldStore:
    """Rows for all clients, and for some of them rows of their own."""

    everybody: Rows | None = None
    each: dict[int, Rows] = field(default_factory=dict)

    def of(self, client: int) -> Rows | None:
        """What this client is told; `None` before there is anything."""
        return self.each.get(client, self.everybody)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """All rows, as named arrays."""
        arrays = {} if self.everybody is None else _arrays(_ALL, self.everybody)
        for client, rows in self.each.items():
            arrays |= _arrays(str(client), rows)
        return arrays

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        whose = {name.partition("/")[0] for name in arrays}
        rows = {name: Rows.of(arrays[f"{name}/keys"], arrays[f"{name}/values"]) for name in whose}
        self.everybody = rows.pop(_ALL, None)
        self.each = {int(client): own for client, own in rows.items()}


def _arrays(whose: str, rows: Rows) -> dict[str, npt.NDArray[Any]]:
    return {f"{whose}/keys": np.asarray(rows.keys_N), f"{whose}/values": np.asarray(rows.values_ND)}
