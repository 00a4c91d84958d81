"""The Ray engine: a Flower grid whose clients run in parallel, on this machine's cores or on a cluster."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import ray
from flwr.app import Error, Message, RecordDict

from fedkd.engines.ray_executor import RayExecutor
from fedkd.engines.ray_pool import Handle, Job, RayPool
from fedkd.engines.ray_worker import ClientTask
from fedkd.flower.internals import CLIENT_CRASHED, with_content
from fedkd.flower.simulated_grid import SimulatedGrid

_SHARED_FROM_BYTES = 50_000
"""Contents of at least this size go through Ray's object store, once for all clients that get them."""

_BATCH_SECONDS = 0.05
"""Expected seconds of work in one job: each message through Ray costs some milliseconds."""


class RayGrid(SimulatedGrid):
    """Runs a `ClientApp` for every message, in one of several worker processes.

    Replies are yielded in the order in which they arrive. Clients that took long in their last round go first, so that
    the workers end at about the same time. The states of clients are in Ray's object store.

    Args:
        pool: the workers, which have loaded the client app. They outlive the grid.
        num_clients: number of clients.
        shuffle_seed: seed of a permutation of the node ids; `None` keeps clients in order.
    """

    def __init__(self, pool: RayPool, num_clients: int, *, shuffle_seed: int | None = None) -> None:
        super().__init__(num_clients, shuffle_seed)
        self._pool = pool
        self.executor = RayExecutor(pool)
        self._states: dict[int, Any] = {}
        self._seconds: dict[tuple[int, str], float] = {}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield each reply as soon as it is there, except of clients that took longer than `timeout` seconds.

        A client that hangs is stopped together with its worker. If a worker dies, its client is asked once more in a
        new worker; if that dies, too, the reply is an error. Clients that were fast last time share a job; if the
        worker dies or hangs, each of them is asked again in a job of its own, to find out which client it was.
        """
        shared: dict[int, list[Any]] = {}
        asked = list(messages)
        for message in asked:
            self._number(message)
        jobs = [self._job(batch, shared, tries=int(len(batch) > 1)) for batch in self._batches(asked)]
        while jobs:  # a job of several clients is tried once, and then split
            again: list[Message] = []
            for outcome in self._pool.dispatch(jobs, timeout):
                batch = outcome.job.item
                if outcome.kind == "done":
                    yield from self._settle(outcome.job, outcome.value, timeout)
                elif len(batch) > 1:
                    again += batch
                elif outcome.kind == "died":
                    yield Message(
                        Error(CLIENT_CRASHED, f"two workers died while they ran this client: {outcome.why}"),
                        reply_to=batch[0],
                    )
            jobs = [self._job([message], shared, tries=1) for message in again]

    def _packed_state(self, node_id: int) -> bytes | None:
        state: bytes | None = ray.get(self._states[node_id]) if node_id in self._states else None
        return state

    def _put_state(self, node_id: int, packed: bytes) -> None:
        self._states[node_id] = ray.put(packed)

    def _expected_seconds(self, message: Message) -> float:
        return self._seconds.get((message.metadata.dst_node_id, message.metadata.message_type), math.inf)

    def _batches(self, messages: Sequence[Message]) -> Iterator[list[Message]]:
        """Batches, the slowest messages first; a message whose time is unknown is a batch of its own."""
        ordered = sorted(messages, key=lambda each: (-self._expected_seconds(each), each.metadata.dst_node_id))
        at_most = math.ceil(len(ordered) / (2 * self._pool.size))
        batch: list[Message] = []
        seconds = 0.0
        for message in ordered:
            expected = self._expected_seconds(message)
            if batch and (seconds + expected > _BATCH_SECONDS or len(batch) == at_most):
                yield batch
                batch, seconds = [], 0.0
            batch.append(message)
            seconds += expected
        if batch:
            yield batch

    def _job(self, batch: list[Message], shared: dict[int, list[Any]], tries: int) -> Job:
        tasks = [self._task(message, shared) for message in batch]
        states = [self._states.get(message.metadata.dst_node_id) for message in batch]
        return Job(partial(_submit, tasks, states), batch, tries)

    def _task(self, message: Message, shared: dict[int, list[Any]]) -> ClientTask:
        content, reference = message.content, None
        if _payload_size(content) >= _SHARED_FROM_BYTES:
            if id(content) not in shared:
                shared[id(content)] = [ray.put(content)]
            reference = shared[id(content)]
            message = with_content(message, RecordDict())
        return ClientTask(message, reference, self._node_config(message.metadata.dst_node_id))

    def _settle(self, job: Job, replies: list[tuple[Message, float, bool]], timeout: float | None) -> Iterator[Message]:
        for message, state, (reply, seconds, keeps) in zip(job.item, job.refs[1:], replies, strict=True):
            self._remember(message, state if keeps else None, seconds)
            if timeout is None or seconds <= timeout:
                yield reply

    def _remember(self, message: Message, state: Any, seconds: float) -> None:
        node_id = message.metadata.dst_node_id
        self._seconds[(node_id, message.metadata.message_type)] = seconds
        self._asked.add(node_id)
        if state is None:
            self._states.pop(node_id, None)
        else:
            self._states[node_id] = state


def _submit(tasks: list[ClientTask], states: list[Any], worker: Handle) -> Sequence[ray.ObjectRef[Any]]:
    references: list[ray.ObjectRef[Any]] = worker.answer.options(num_returns=1 + len(tasks)).remote(tasks, *states)
    return references


def _payload_size(content: RecordDict) -> int:
    return sum(len(array.data) for record in content.array_records.values() for array in record.values())
