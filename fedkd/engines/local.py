"""The local engine: a Flower grid in this process. It starts at once, runs one client after the other, and is easy to
debug.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flwr.app import Context, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp

from fedkd.distillation.executor import LocalExecutor
from fedkd.flower.internals import pack_records, unpack_records
from fedkd.flower.simulated_grid import SimulatedGrid, answer


class LocalGrid(SimulatedGrid):
    """Runs a `ClientApp` for every message, in this process.

    Args:
        app: the client app; the same for all.
        num_clients: number of clients.
        run_config: the `run_config` of every context.
        shuffle_seed: seed of a permutation of the node ids, and so of the clients; `None` keeps clients in order.
    """

    def __init__(
        self, app: ClientApp, num_clients: int, run_config: UserConfig, *, shuffle_seed: int | None = None
    ) -> None:
        super().__init__(num_clients, shuffle_seed)
        self.executor = LocalExecutor()
        self._app = app
        self._contexts = {
            node_id: Context(
                run_id=self.run.run_id,
                node_id=node_id,
                node_config=self._node_config(node_id),
                state=RecordDict(),
                run_config=run_config,
            )
            for node_id in self._clients
        }

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield each reply as soon as it is there, except of clients that took longer than `timeout` seconds.

        A client that hangs cannot be interrupted, because it runs in this process; the Ray engine can do that.
        """
        for message in sorted(messages, key=lambda message: message.metadata.dst_node_id):
            self._number(message)
            context = self._contexts[message.metadata.dst_node_id]
            reply, seconds = answer(self._app, message, context)
            self._asked.add(context.node_id)
            if timeout is None or seconds <= timeout:
                yield reply

    def _packed_state(self, node_id: int) -> bytes | None:
        state = self._contexts[node_id].state
        return pack_records(state) if state else None

    def _put_state(self, node_id: int, packed: bytes) -> None:
        self._contexts[node_id].state = unpack_records(packed)
