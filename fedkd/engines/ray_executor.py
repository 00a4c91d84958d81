"""The server's work on Ray workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import ray
from ray import ObjectRef
from ray.exceptions import RayActorError, RayError

from fedkd.distillation.executor import LocalExecutor
from fedkd.distillation.shards import Exchange
from fedkd.engines.ray_pool import Job, RayPool, reason
from fedkd.engines.ray_worker import Raised
from fedkd.errors import EngineError

Item = TypeVar("Item")
Result = TypeVar("Result")


class RayExecutor:
    """Divides work over a pool; see `fedkd.distillation.executor.Executor`. A gang keeps to one machine."""

    def __init__(self, pool: RayPool) -> None:
        self._pool = pool

    @property
    def workers(self) -> int:
        """How many items are worked on at a time."""
        return self._pool.size

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return what `function` makes of each item, in the order of the items.

        Raises:
            EngineError: a worker died over an item, and the one that took its place, too.
        """
        if len(items) <= 1:
            return LocalExecutor().map(function, items)
        results: dict[int, Result] = {}
        for outcome in self._pool.dispatch([job_of(function, item, index) for index, item in enumerate(items)]):
            if outcome.kind == "died":
                raise EngineError(f"two Ray workers died over the same work: {outcome.why}")
            results[outcome.job.item] = opened(outcome.value)
        return [results[index] for index in range(len(items))]

    def gang(self, function: Callable[[Exchange], Result], size: int) -> Result:
        """Run `function` in up to `size` workers of one machine; if one dies, once more in new ones.

        Raises:
            EngineError: workers died in both tries, or one failed.
        """
        if min(size, self._pool.size) == 1:
            return LocalExecutor().gang(function, size)
        try:
            return self._once(function, size)
        except RayActorError:
            self._pool.replace_all()
        try:
            return self._once(function, size)
        except RayActorError as cause:
            raise EngineError(f"Ray workers died twice over the same work: {reason(cause)}") from cause

    def _once(self, function: Callable[[Exchange], Result], size: int) -> Result:
        workers = self._pool.neighbours()[:size]
        shared = ray.put(function)
        port = ray.get(workers[0].meet.remote())
        references = [worker.join.remote(shared, rank, len(workers), port) for rank, worker in enumerate(workers)]
        failures = _failures(references)
        for failure in failures:
            if isinstance(failure, RayActorError):  # what the others report follows from it
                raise failure
        if failures:
            self._pool.replace_all()
            raise EngineError(f"a Ray worker failed: {reason(failures[0])}") from failures[0]
        result: Result | Raised = ray.get(references[0])
        return opened(result)


def _failures(references: list[ObjectRef[Any]]) -> list[RayError]:
    """Wait for all, but no longer than until one died: the others may be waiting for it."""
    failures: list[RayError] = []
    waiting = list(references)
    while waiting and not any(isinstance(failure, RayActorError) for failure in failures):
        over, waiting = ray.wait(waiting, num_returns=1)
        failures += [failure for failure in map(_failure, over) if failure is not None]
    return failures


def _failure(reference: ObjectRef[Any]) -> RayError | None:
    try:
        ray.get(reference)
    except RayError as failure:
        return failure
    return None


def job_of(function: Callable[[Item], Result], item: Item, name: Any) -> Job:
    """Make a job of one item, under a name of the caller's."""
    return Job(lambda worker: [worker.run.remote(function, item)], name)


def opened(result: Result | Raised) -> Result:
    """Return what a job came to, or raise what it raised."""
    if isinstance(result, Raised):
        raise result.error
    return result
