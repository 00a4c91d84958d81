"""The local engine: a Flower grid in this process. No start-up, one client after the other, easy to debug."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from flwr.app import Context, Error, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from fedkd.federation.engines.internals import CLIENT_RAISED, new_run, set_message_id
from fedkd.seeding import numpy_rng

if TYPE_CHECKING:
    from flwr.supercore.run import Run

logger = logging.getLogger(__name__)


class LocalGrid(Grid):
    """Runs a `ClientApp` for every message, in this process.

    A client's `Context` lives as long as the grid, so what a client keeps in its state is there in the next round.
    Clients are imagined side by side: a timeout is held against each client's own time, not against their sum.

    Args:
        app: the client app; the same for all.
        num_clients: number of clients; client k has `partition-id` k.
        run_config: what every context's `run_config` holds.
        shuffle_seed: draws node ids and the order in which clients are listed and run, as a real federation's would
            be arbitrary; `None` keeps clients in order.
    """

    def __init__(
        self, app: ClientApp, num_clients: int, run_config: UserConfig, *, shuffle_seed: int | None = None
    ) -> None:
        self._app = app
        self._run = new_run(run_id=1)
        node_ids = list(range(1, num_clients + 1))
        if shuffle_seed is not None:
            node_ids = [int(node) for node in numpy_rng(shuffle_seed).permutation(node_ids)]
        self._contexts = {
            node_id: Context(
                run_id=self._run.run_id,
                node_id=node_id,
                node_config={"partition-id": client, "num-partitions": num_clients},
                state=RecordDict(),
                run_config=run_config,
            )
            for client, node_id in enumerate(node_ids)
        }
        self._replies: dict[str, Message] = {}
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
        """All nodes; every client is always there."""
        return sorted(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Run every message now; keep the replies for `pull_messages`."""
        message_ids = []
        for message in messages:
            reply, _ = self._handle(message)
            message_ids.append(message.metadata.message_id)
            self._replies[message.metadata.message_id] = reply
        return message_ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Hand out replies that were not handed out before."""
        return [self._replies.pop(message_id) for message_id in message_ids if message_id in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield each reply as soon as it is there; a client that took longer than `timeout` seconds yields none."""
        for message in sorted(messages, key=lambda message: message.metadata.dst_node_id):
            reply, seconds = self._handle(message)
            if timeout is None or seconds <= timeout:
                yield reply

    def _handle(self, message: Message) -> tuple[Message, float]:
        self._sent += 1
        set_message_id(message, f"local-{self._sent}")
        context = self._contexts[message.metadata.dst_node_id]
        started = time.perf_counter()
        try:
            reply = self._app(message, context)
        except Exception as cause:  # a client's failure is its own: the server is told, as by Flower's runtimes
            logger.debug("client on node %d raised", context.node_id, exc_info=True)
            reply = Message(Error(CLIENT_RAISED, f"{type(cause).__name__}: {cause}"), reply_to=message)
        return reply, time.perf_counter() - started
