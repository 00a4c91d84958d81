"""How a federation is formed: wait until all nodes are there, then learn which client sits on which, and whether it
can take part.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedkd.config.experiment import ClientsConfig, ExperimentConfig
from fedkd.data.federated import FederatedData
from fedkd.errors import ConfigError, PayloadError, PublicSetMismatchError, RoundError
from fedkd.federation.messages import HELLO, Hello, check_version, content_of, hello_from_records
from fedkd.federation.observers import Observer
from fedkd.flower.simulated_grid import SimulatedGrid
from fedkd.records import Refusal

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
"""Seconds between two looks at the grid; the pause doubles, as a grid has no way to call back."""

_PAUSE = 1.0
"""Seconds between two looks for clients that are missing in the midst of a run."""


def wait_for_nodes(grid: Grid, clients: ClientsConfig) -> list[int]:
    """Return the ids of the federation's nodes as soon as there are `clients.min_available_nodes` of them, which is
    `clients.number` by default.

    Raises:
        ConfigError: there are more than `clients.number`, or still too few after `clients.join_timeout` seconds.
    """
    needed = clients.min_available_nodes or clients.number
    deadline = time.monotonic() + clients.join_timeout
    pause = _FIRST_PAUSE
    nodes = list(grid.get_node_ids())
    while len(nodes) < needed and (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        pause = min(2 * pause, _LONGEST_PAUSE)
        nodes = list(grid.get_node_ids())
    if not needed <= len(nodes) <= clients.number:
        waited = f" after {clients.join_timeout:g} s (clients.join_timeout)" if len(nodes) < needed else ""
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


class Membership:
    """Who is there while a deployed federation runs: a client that was restarted may come back on another node.

    Args:
        config: the experiment.
        data: the server's.
        nodes: client -> node, as `meet` returned it; kept up to date.
        observer: told of clients that are back, and of refusals that are new.
    """

    def __init__(
        self, config: ExperimentConfig, data: FederatedData, nodes: dict[int, int], observer: Observer
    ) -> None:
        self._config, self._data, self._nodes, self._observer = config, data, nodes, observer
        self._greeted: dict[str, int] = {}
        self._told: set[Refusal] = set()

    def present(self, grid: Grid) -> list[int]:
        """Clients that can be asked now: those whose nodes are online. Where they are fewer than
        `clients.min_train_nodes`, others are waited for, at most `clients.join_timeout` seconds.
        """
        clients = self._config.clients
        if isinstance(grid, SimulatedGrid):
            return sorted(self._nodes)
        deadline = time.monotonic() + clients.join_timeout
        while True:
            here = set(grid.get_node_ids())
            self._hear(grid, here)
            self._greet(grid, here)
            present = sorted(client for client, node in self._nodes.items() if node in here)
            if len(present) >= clients.min_train_nodes or time.monotonic() > deadline:
                return present or sorted(self._nodes)
            time.sleep(_PAUSE)

    def _greet(self, grid: Grid, here: set[int]) -> None:
        """Ask nodes without a client who they are. Nobody waits for the answer: it is heard before the next round."""
        strangers = sorted(here - {*self._nodes.values(), *self._greeted.values()})
        if strangers:
            sent = grid.push_messages([Message(RecordDict(), node, HELLO) for node in strangers])
            self._greeted.update(zip(sent, strangers, strict=True))

    def _hear(self, grid: Grid, here: set[int]) -> None:
        """Record the nodes of clients that have answered; a client that is present keeps its node."""
        back, refused = False, list[Refusal]()
        for reply in grid.pull_messages(list(self._greeted)) if self._greeted else ():
            node = self._greeted.pop(reply.metadata.reply_to_message_id)
            if node not in here:
                continue
            client = None
            try:
                hello = hello_from_records(content_of(reply))
                client = hello.client
                _admit(hello, self._config, self._data, {c: node_ for c, node_ in self._nodes.items() if node_ in here})
                self._nodes[client], back = node, True
            except PayloadError as problem:
                refused.append(Refusal(client=client, reason=problem.reason, detail=problem.detail))
        news = [refusal for refusal in refused if refusal not in self._told]
        self._told.update(news)
        if back or news:
            self._observer.on_clients(sorted(self._nodes), news)


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
