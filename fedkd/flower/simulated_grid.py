"""The common part of the simulated grids: which client is on which node, and how a client answers a message."""

from __future__ import annotations

import logging
import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from flwr.app import Context, Error, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedkd.distillation.executor import Executor
from fedkd.flower.internals import CLIENT_RAISED, new_run, set_message_id
from fedkd.seeding import numpy_rng

if TYPE_CHECKING:
    from flwr.supercore.run import Run

logger = logging.getLogger(__name__)

RUN_ID = 1


class SimulatedGrid(Grid):
    """A grid that runs its clients itself; subclasses say where.

    The `Context.state` of a client is kept from round to round. A timeout applies to the time of each client, not to
    their sum, as if all clients ran in parallel.

    Args:
        num_clients: number of clients; client k has `partition-id` k.
        shuffle_seed: seed of a permutation of the node ids, as they are arbitrary in a deployment; `None` keeps clients
            in order.
    """

    executor: Executor

    def __init__(self, num_clients: int, shuffle_seed: int | None) -> None:
        self._run = new_run(RUN_ID)
        node_ids = list(range(1, num_clients + 1))
        if shuffle_seed is not None:
            node_ids = [int(node) for node in numpy_rng(shuffle_seed).permutation(node_ids)]
        self._clients = {node_id: client for client, node_id in enumerate(node_ids)}
        self._replies: dict[str, Message] = {}
        self._asked: set[int] = set()
        self._sent = 0

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Create a message to one node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """Return all nodes; every client is always online."""
        return sorted(self._clients)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Let the clients answer every message now; keep the replies for `pull_messages`."""
        pushed = list(messages)
        for reply in self.send_and_receive(pushed):
            self._replies[reply.metadata.reply_to_message_id] = reply
        return [message.metadata.message_id for message in pushed]

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies to these messages that were not returned before."""
        return [self._replies.pop(message_id) for message_id in message_ids if message_id in self._replies]

    @abstractmethod
    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield each reply as soon as it is there, except of clients that took longer than `timeout` seconds."""

    def take_changed_states(self) -> Iterator[tuple[int, bytes]]:
        """Yield (client, its packed state) for every client that got a message since the last call and has a state."""
        asked, self._asked = self._asked, set()
        for node_id in sorted(asked):
            state = self._packed_state(node_id)
            if state is not None:
                yield self._clients[node_id], state

    def put_states(self, states: Mapping[int, bytes]) -> None:
        """Set the states of clients to what `take_changed_states` yielded earlier."""
        for node_id, client in self._clients.items():
            if client in states:
                self._put_state(node_id, states[client])

    @abstractmethod
    def _packed_state(self, node_id: int) -> bytes | None:
        """Return the packed state of the client on this node; `None` if it has none."""

    @abstractmethod
    def _put_state(self, node_id: int, packed: bytes) -> None:
        """Set the state of the client on this node."""

    def _number(self, message: Message) -> None:
        self._sent += 1
        set_message_id(message, f"message-{self._sent}")

    def _node_config(self, node_id: int) -> UserConfig:
        return {"partition-id": self._clients[node_id], "num-partitions": len(self._clients)}


def answer(app: ClientApp, message: Message, context: Context) -> tuple[Message, float]:
    """Let a client answer a message; return the reply and the seconds it took.

    If the client raises, the reply is an error, as in Flower's runtimes.
    """
    started = time.perf_counter()
    try:
        reply = app(message, context)
    except Exception as cause:
        logger.debug("client on node %d raised", context.node_id, exc_info=True)
        reply = Message(Error(CLIENT_RAISED, f"{type(cause).__name__}: {cause}"), reply_to=message)
    return reply, time.perf_counter() - started
