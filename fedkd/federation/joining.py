"""How a federation is formed: wait until all nodes are there, then learn which client sits on which, and whether it
can take part.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedkd.config import ClientsConfig, ExperimentConfig
from fedkd.data.federated import FederatedData
from fedkd.errors import ConfigError, PayloadError, PublicSetMismatchError, RoundError
from fedkd.federation.messages import HELLO, Hello, check_version, content_of, hello_from_records
from fedkd.records import Refusal

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


def meet(
    grid: Grid, config: ExperimentConfig, data: FederatedData, timeout: float | None
) -> tuple[dict[int, int], list[Refusal]]:
    """Learn which client sits on which node (client -> node), and who is refused and why."""
    nothing, nodes = RecordDict(), dict[int, int]()
    refused: list[Refusal] = []
    queries = [Message(nothing, node_id, HELLO) for node_id in wait_for_nodes(grid, config.clients)]
    for reply in grid.send_and_receive(queries, timeout=timeout):
        client = None
        try:
            hello = hello_from_records(content_of(reply))
            client = hello.client
            _admit(hello, config, data, nodes)
            nodes[client] = reply.metadata.src_node_id
        except PayloadError as problem:
            refused.append(Refusal(client=client, reason=problem.reason, detail=problem.detail))
    return nodes, refused


def require_enough(nodes: Collection[int], refused: Sequence[Refusal], clients: ClientsConfig) -> None:
    """Raise `RoundError` where fewer than `clients.min_train_nodes` can take part; it gives every reason."""
    if len(nodes) < clients.min_train_nodes:
        reasons = "; ".join(f"client {r.client}: {r.reason}: {r.detail}" for r in refused) or "no other answered"
        raise RoundError(
            f"{len(nodes)} clients can take part; clients.min_train_nodes asks for "
            f"{clients.min_train_nodes} ({reasons})"
        )


def _admit(hello: Hello, config: ExperimentConfig, data: FederatedData, nodes: dict[int, int]) -> None:
    check_version(hello.version)
    if hello.public_digest != data.public_digest:
        raise PublicSetMismatchError(hello.public_digest, data.public_digest)
    if hello.num_classes != data.num_classes:
        raise PayloadError("classes", f"the client has {hello.num_classes} classes; the server {data.num_classes}")
    if not 0 <= hello.client < config.clients.number:
        raise PayloadError("sender", f"client {hello.client}; clients.number is {config.clients.number}")
    if hello.client in nodes:
        raise PayloadError("sender", f"client {hello.client} is here already, on another node")
    expected = config.client_model(hello.client)
    if hello.architecture != expected:
        raise PayloadError("model", f"the client has {hello.architecture!r}; clients.models says {expected!r}")
