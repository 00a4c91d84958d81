"""A pool of Ray actors. Each does one job at a time; a worker that dies or hangs is replaced.

Guarantees:
    - Every job has exactly one outcome, which is yielded as soon as it is known, without polling.
    - When a worker dies it is replaced, and its job is tried once more.
    - When a job takes longer than its deadline, its worker is stopped and replaced.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError, RayError, RayTaskError

from fedkd.engines.ray_worker import SetUp, Worker
from fedkd.errors import EngineError

logger = logging.getLogger(__name__)

Handle = Any
"""A handle of a `Worker` actor; Ray makes its methods at run time."""

_GRACE_SECONDS = 1.0
"""Seconds after its deadline at which a job is stopped. A job that ends just after its deadline is reported as done."""

_LONG_SECONDS = 60.0
"""Seconds after which a warning is logged that a worker is not ready."""

_TRIES = 2


@dataclass
class Job:
    """Work for one worker: `submit` starts it there and returns Ray's references to its results.

    It is tried until `tries` is two. `item` says what the job is about; only the caller uses it.
    """

    submit: Callable[[Handle], Sequence[ObjectRef[Any]]]
    item: Any = None
    tries: int = 0
    refs: Sequence[ObjectRef[Any]] = ()


@dataclass(frozen=True)
class Outcome:
    """How a job ended: `done` (with its first result), `late` (stopped), or `died` (its worker died in every try)."""

    job: Job
    kind: Literal["done", "late", "died"]
    value: Any = None
    why: str = ""


@dataclass
class _Slot:
    """A worker slot: the worker, its machine (known once it is ready), and its job, which it does since `since`."""

    worker: Handle
    ready: ObjectRef[Any] | None
    machine: str = ""
    job: Job | None = None
    since: float = 0.0

    def head(self, *, awaited: bool) -> ObjectRef[Any] | None:
        """The reference that resolves next: the result of the job, or, if `awaited`, that the worker is ready."""
        if self.job is not None:
            return self.job.refs[0]
        return self.ready if awaited else None

    def take(self) -> Job:
        """Remove the job from this slot and return it."""
        if self.job is None:
            raise EngineError("a Ray worker answered although it had no job")
        job, self.job = self.job, None
        return job


class RayPool:
    """`size` workers, each in its own process. Ray must be initialised; see `ray_session`.

    Args:
        size: number of workers.
        set_up: how each worker prepares itself, also one that replaces another.
        cpus: CPUs that Ray reserves for each worker; may be a fraction.
        gpus: GPUs that Ray reserves for each worker; may be a fraction.

    Raises:
        EngineError: Ray cannot place the workers, or the preparation of one fails.
    """

    def __init__(self, size: int, set_up: SetUp, *, cpus: float = 1.0, gpus: float = 0.0) -> None:
        self._actor: Any = ray.remote(num_cpus=cpus, num_gpus=gpus)(Worker)
        self._set_up = ray.put(set_up)
        self._slots = [self._start() for _ in range(size)]
        for slot in self._slots:
            self._await_ready(slot)

    def __enter__(self) -> RayPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Number of workers."""
        return len(self._slots)

    def dispatch(self, jobs: Sequence[Job], deadline: float | None = None) -> Iterator[Outcome]:
        """Do the jobs in their order; yield each outcome as soon as it is known.

        Args:
            jobs: the jobs.
            deadline: seconds that one job may take, without its time in the queue; `None` for no limit.
        """
        waiting = deque(jobs)
        try:
            while waiting or any(slot.job for slot in self._slots):
                self._feed(waiting)
                slots = [(slot.head(awaited=bool(waiting)), slot) for slot in self._slots]
                busy = {head: slot for head, slot in slots if head is not None}
                heads, _ = ray.wait(list(busy), num_returns=1, timeout=_patience(busy.values(), deadline))
                if heads:
                    yield from self._settle(busy[heads[0]], waiting)
                else:
                    yield from self._stop_overdue(deadline)
        finally:
            self._cancel_all()

    def replace_all(self) -> None:
        """Replace every worker by a new one."""
        for slot in self._slots:
            self._replace(slot)
        for slot in self._slots:
            self._await_ready(slot)

    def workers_of_one_machine(self) -> list[Handle]:
        """Return the largest set of workers on one machine."""
        machines: dict[str, list[Handle]] = {}
        for slot in self._slots:
            self._await_ready(slot)
            machines.setdefault(slot.machine, []).append(slot.worker)
        return max(machines.values(), key=len)

    def close(self) -> None:
        """Stop all workers."""
        for slot in self._slots:
            ray.kill(slot.worker)
        self._slots = []

    def _start(self) -> _Slot:
        worker = self._actor.remote([self._set_up])
        return _Slot(worker, worker.machine.remote())

    def _await_ready(self, slot: _Slot) -> None:
        if slot.ready is None:
            return
        placed, _ = ray.wait([slot.ready], timeout=_LONG_SECONDS)
        if not placed:
            logger.warning("waiting for a Ray worker to start: does the cluster have enough resources?")
        try:
            slot.machine = ray.get(slot.ready)
        except RayError as cause:
            raise EngineError(f"a Ray worker cannot start: {reason(cause)}") from cause
        slot.ready = None

    def _replace(self, slot: _Slot) -> None:
        ray.kill(slot.worker)
        fresh = self._start()
        slot.worker, slot.ready = fresh.worker, fresh.ready

    def _cancel_all(self) -> None:
        """Stop every job that is still being done; nobody waits for its outcome any more."""
        for slot in self._slots:
            if slot.job is not None:
                slot.job = None
                self._replace(slot)

    def _feed(self, waiting: deque[Job]) -> None:
        """Give a job to every worker that is ready and has none.

        A worker never has two jobs: if it died, nobody would know which of the two was the reason.
        """
        for slot in self._slots:
            if waiting and slot.ready is None and slot.job is None:
                slot.job, slot.since = waiting.popleft(), time.monotonic()
                slot.job.refs = slot.job.submit(slot.worker)

    def _settle(self, slot: _Slot, waiting: deque[Job]) -> Iterator[Outcome]:
        """Handle what a reference said: a worker is ready, or its job is over."""
        if slot.ready is not None:
            self._await_ready(slot)
            return
        job = slot.take()
        try:
            value = ray.get(job.refs[0])
        except RayTaskError as cause:
            raise EngineError(f"a Ray worker failed: {reason(cause)}") from cause
        except RayError as cause:
            self._replace(slot)
            job.tries += 1
            if job.tries < _TRIES:
                waiting.appendleft(job)
            else:
                yield Outcome(job, "died", why=reason(cause))
            return
        yield Outcome(job, "done", value)

    def _stop_overdue(self, deadline: float | None) -> Iterator[Outcome]:
        for slot in self._slots:
            if slot.job is not None and _patience([slot], deadline) == 0:
                overdue = slot.take()
                self._replace(slot)
                yield Outcome(overdue, "late")


def _patience(slots: Any, deadline: float | None) -> float | None:
    """Seconds until the first job is overdue; a worker that is still starting has no deadline."""
    if deadline is None:
        return None
    now = time.monotonic()
    left = [slot.since + deadline + _GRACE_SECONDS - now for slot in slots if slot.ready is None]
    return max(0.0, min(left)) if left else None


def reason(error: RayError) -> str:
    """Return the last non-empty line of what Ray reports; its errors quote whole tracebacks."""
    if isinstance(error, RayActorError) and "creation task" not in str(error):
        return "its process died"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
