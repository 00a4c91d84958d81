"""The Ray engine: a Flower grid whose clients run in parallel, on this machine's cores or on a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import ray
from flwr.app import Error, Message, RecordDict

from fedkd.federation.engines.internals import CLIENT_CRASHED, with_content
from fedkd.federation.engines.ray_executor import RayExecutor
from fedkd.federation.engines.ray_pool import Job, RayPool
from fedkd.federation.engines.simulated import SimulatedGrid

_SHARED_FROM_BYTES = 50_000
"""Contents from this size on go through Ray's object store, once however many clients they are for."""


class RayGrid(SimulatedGrid):
    """Runs a `ClientApp` for every message, in one of several worker processes.

    Replies come in the order in which they are there. Clients that took long in their last round go first, so that
    workers end together. What a client keeps lies in Ray's object store.

    Args:
        pool: the workers; the client app is theirs. They outlive the grid.
        num_clients: number of clients.
        shuffle_seed: draws node ids; `None` keeps clients in order.
    """

    def __init__(self, pool: RayPool, num_clients: int, *, shuffle_seed: int | None = None) -> None:
        super().__init__(num_clients, shuffle_seed)
        self._pool = pool
        self.executor = RayExecutor(pool)
        self._states: dict[int, Any] = {}
        self._seconds: dict[tuple[int, str], float] = {}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield each reply as soon as it is there; a client that took longer than `timeout` seconds yields none.

        A client that hangs is stopped with its worker. One whose worker died is asked once more, in a new worker;
        if that dies, too, its reply is an error.
        """
        shared: dict[int, list[Any]] = {}
        jobs = {}
        for message in sorted(messages, key=self._slowest_first):
            self._number(message)
            job = self._job(message, shared)
            jobs[id(job)] = (job, message)
        for outcome in self._pool.dispatch([job for job, _ in jobs.values()], timeout):
            message = jobs[id(outcome.job)][1]
            if outcome.kind == "died":
                yield Message(Error(CLIENT_CRASHED, f"two workers died over it: {outcome.why}"), reply_to=message)
            elif outcome.kind == "done":
                reply, seconds, keeps = outcome.value
                self._remember(message, outcome.job.refs[1] if keeps else None, seconds)
                if timeout is None or seconds <= timeout:
                    yield reply

    def _packed_state(self, node_id: int) -> bytes | None:
        state: bytes | None = ray.get(self._states[node_id]) if node_id in self._states else None
        return state

    def _put_state(self, node_id: int, packed: bytes) -> None:
        self._states[node_id] = ray.put(packed)

    def _slowest_first(self, message: Message) -> tuple[float, int]:
        node_id = message.metadata.dst_node_id
        return -self._seconds.get((node_id, message.metadata.message_type), 0.0), node_id

    def _job(self, message: Message, shared: dict[int, list[Any]]) -> Job:
        content, node_id = message.content, message.metadata.dst_node_id
        reference = None
        if _payload_size(content) >= _SHARED_FROM_BYTES:
            if id(content) not in shared:
                shared[id(content)] = [ray.put(content)]
            reference = shared[id(content)]
            message = with_content(message, RecordDict())
        arguments = (message, reference, self._node_config(node_id), self._states.get(node_id))
        return Job(lambda worker: worker.answer.options(num_returns=2).remote(*arguments))

    def _remember(self, message: Message, state: Any, seconds: float) -> None:
        node_id = message.metadata.dst_node_id
        self._seconds[(node_id, message.metadata.message_type)] = seconds
        self._asked.add(node_id)
        if state is None:
            self._states.pop(node_id, None)
        else:
            self._states[node_id] = state


def _payload_size(content: RecordDict) -> int:
    return sum(len(array.data) for record in content.array_records.values() for array in record.values())
