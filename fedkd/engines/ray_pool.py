"""Ray actors that take one job at a time each, and what becomes of a job whose worker dies or hangs.

Guarantees:
    - Outcomes come as they are there, without polling; every job that was given has exactly one.
    - A worker that dies is replaced, and the job it was at is tried once more.
    - A job that is at work for longer than its deadline is stopped with its worker, which is replaced.
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
"""How long after its deadline a job is stopped: one that ends just after it says so itself."""

_LONG_SECONDS = 60.0
"""A worker that is not ready after this time is spoken of."""

_TRIES = 2


@dataclass
class Job:
    """Something for one worker to do: `submit` starts it there and returns Ray's references to its results.

    It is tried until `tries` is two. `item` is the caller's own: what the job is about.
    """

    submit: Callable[[Handle], Sequence[ObjectRef[Any]]]
    item: Any = None
    tries: int = 0
    refs: Sequence[ObjectRef[Any]] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a job: `done` (with its first result), `late` (stopped) or `died` (as often as it is tried)."""

    job: Job
    kind: Literal["done", "late", "died"]
    value: Any = None
    why: str = ""


@dataclass
class _Lane:
    """One worker, the machine it is on (known once it is ready), and the job it is at since `since`."""

    worker: Handle
    ready: ObjectRef[Any] | None
    machine: str = ""
    job: Job | None = None
    since: float = 0.0

    def head(self, *, awaited: bool) -> ObjectRef[Any] | None:
        """What this worker will say next: that it is ready, if that is awaited, or its job's result."""
        if self.job is not None:
            return self.job.refs[0]
        return self.ready if awaited else None

    def take(self) -> Job:
        """The job, which this worker is no longer at."""
        if self.job is None:
            raise EngineError("a Ray worker answered that was not asked")
        job, self.job = self.job, None
        return job


class RayPool:
    """`size` workers, each with its own process. Needs a Ray that is initialised; see `ray_session`.

    Args:
        size: how many.
        set_up: how each gets ready, also one that takes another's place.
        cpus: CPUs that Ray reserves for each; may be a fraction.
        gpus: GPUs likewise.

    Raises:
        EngineError: Ray cannot place the workers, or one does not get ready.
    """

    def __init__(self, size: int, set_up: SetUp, *, cpus: float = 1.0, gpus: float = 0.0) -> None:
        self._actor: Any = ray.remote(num_cpus=cpus, num_gpus=gpus)(Worker)
        self._set_up = ray.put(set_up)
        self._lanes = [self._start() for _ in range(size)]
        for lane in self._lanes:
            self._await_ready(lane)

    def __enter__(self) -> RayPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def size(self) -> int:
        """Number of workers."""
        return len(self._lanes)

    def dispatch(self, jobs: Sequence[Job], deadline: float | None = None) -> Iterator[Outcome]:
        """Do the jobs, the first ones first; yield what became of each as soon as it is known.

        Args:
            jobs: what to do.
            deadline: seconds that one job may take, its time in the queue apart; `None` for as long as it takes.
        """
        waiting = deque(jobs)
        try:
            while waiting or any(lane.job for lane in self._lanes):
                self._feed(waiting)
                lanes = [(lane.head(awaited=bool(waiting)), lane) for lane in self._lanes]
                busy = {head: lane for head, lane in lanes if head is not None}
                heads, _ = ray.wait(list(busy), num_returns=1, timeout=_patience(busy.values(), deadline))
                if heads:
                    yield from self._settle(busy[heads[0]], waiting)
                else:
                    yield from self._stop_overdue(deadline)
        finally:
            self._forsake()

    def replace_all(self) -> None:
        """Start every worker anew."""
        for lane in self._lanes:
            self._replace(lane)
        for lane in self._lanes:
            self._await_ready(lane)

    def neighbours(self) -> list[Handle]:
        """The largest set of workers on one machine."""
        machines: dict[str, list[Handle]] = {}
        for lane in self._lanes:
            self._await_ready(lane)
            machines.setdefault(lane.machine, []).append(lane.worker)
        return max(machines.values(), key=len)

    def close(self) -> None:
        """Stop all workers."""
        for lane in self._lanes:
            ray.kill(lane.worker)
        self._lanes = []

    def _start(self) -> _Lane:
        worker = self._actor.remote([self._set_up])
        return _Lane(worker, worker.machine.remote())

    def _await_ready(self, lane: _Lane) -> None:
        if lane.ready is None:
            return
        placed, _ = ray.wait([lane.ready], timeout=_LONG_SECONDS)
        if not placed:
            logger.warning("waiting for a Ray worker to start: has the cluster room for it?")
        try:
            lane.machine = ray.get(lane.ready)
        except RayError as cause:
            raise EngineError(f"a Ray worker cannot start: {reason(cause)}") from cause
        lane.ready = None

    def _replace(self, lane: _Lane) -> None:
        ray.kill(lane.worker)
        fresh = self._start()
        lane.worker, lane.ready = fresh.worker, fresh.ready

    def _forsake(self) -> None:
        """Whoever listened has gone: stop what is still at work."""
        for lane in self._lanes:
            if lane.job is not None:
                lane.job = None
                self._replace(lane)

    def _feed(self, waiting: deque[Job]) -> None:
        """Give every worker that is ready and has nothing to do a job.

        One at a time: were a second one queued there, a death could not be put down to one of the two.
        """
        for lane in self._lanes:
            if waiting and lane.ready is None and lane.job is None:
                lane.job, lane.since = waiting.popleft(), time.monotonic()
                lane.job.refs = lane.job.submit(lane.worker)

    def _settle(self, lane: _Lane, waiting: deque[Job]) -> Iterator[Outcome]:
        """A worker is ready, or its job is over."""
        if lane.ready is not None:
            self._await_ready(lane)
            return
        job = lane.take()
        try:
            value = ray.get(job.refs[0])
        except RayTaskError as cause:
            raise EngineError(f"a Ray worker failed: {reason(cause)}") from cause
        except RayError as cause:
            self._replace(lane)
            job.tries += 1
            if job.tries < _TRIES:
                waiting.appendleft(job)
            else:
                yield Outcome(job, "died", why=reason(cause))
            return
        yield Outcome(job, "done", value)

    def _stop_overdue(self, deadline: float | None) -> Iterator[Outcome]:
        for lane in self._lanes:
            if lane.job is not None and _patience([lane], deadline) == 0:
                overdue = lane.take()
                self._replace(lane)
                yield Outcome(overdue, "late")


def _patience(lanes: Any, deadline: float | None) -> float | None:
    """Seconds until the first of the lanes is overdue; a worker that is still starting has no deadline."""
    if deadline is None:
        return None
    now = time.monotonic()
    left = [lane.since + deadline + _GRACE_SECONDS - now for lane in lanes if lane.ready is None]
    return max(0.0, min(left)) if left else None


def reason(error: RayError) -> str:
    """The last line that says something of what Ray reports; its errors quote whole tracebacks."""
    if isinstance(error, RayActorError) and "creation task" not in str(error):
        return "its process died"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
