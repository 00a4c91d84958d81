"""Nodes join a federation at their own time: wait until all clients are there."""

from __future__ import annotations

import time

from flwr.serverapp import Grid

from fedkd.config import ClientsConfig
from fedkd.errors import ConfigError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two looks at the grid; the pause doubles, as a grid has no way to call back."""


def wait_for_nodes(grid: Grid, clients: ClientsConfig) -> list[int]:
    """Return the ids of the federation's nodes as soon as there are `clients.number` of them.

    Raises:
        ConfigError: there are more, or still fewer after `clients.join_timeout` seconds.
    """
    deadline = time.monotonic() + clients.join_timeout
    pause = _FIRST_PAUSE
    nodes = list(grid.get_node_ids())
    while len(nodes) < clients.number and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
        nodes = list(grid.get_node_ids())
    if len(nodes) != clients.number:
        waited = f" after {clients.join_timeout:g} s (clients.join_timeout)" if len(nodes) < clients.number else ""
        raise ConfigError(
            "clients.number",
            clients.number,
            f"{len(nodes)} nodes have joined the federation{waited}; start as many nodes as there are clients "
            f"(flwr run --federation-config num-supernodes={clients.number}), or set clients.number to {len(nodes)}",
        )
    return nodes
