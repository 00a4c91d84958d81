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
    """Divides work over a pool; see `fedkd.distillation.executor.Executor`. A collective runs on one machine."""

    def __init__(self, pool: RayPool) -> None:
        self._pool = pool

    @property
    def workers(self) -> int:
        """Number of items that are processed at a time."""
        return self._pool.size

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return the result of `function` for each item, in the order of the items.

        Raises:
            EngineError: a worker died while it processed an item, and so did its replacement.
        """
        if len(items) <= 1:
            return LocalExecutor().map(function, items)
        results: dict[int, Result] = {}
        for outcome in self._pool.dispatch([job_of(function, item, index) for index, item in enumerate(items)]):
            if outcome.kind == "died":
                raise EngineError(f"two Ray workers died while they did the same work: {outcome.why}")
            results[outcome.job.item] = unwrap(outcome.value)
        return [results[index] for index in range(len(items))]

    def run_collective(self, function: Callable[[Exchange], Result], size: int) -> Result:
        """Run `function` in up to `size` workers of one machine; if one dies, run it once more in new workers.

        Raises:
            EngineError: a worker died in both tries, or one failed.
        """
        if min(size, self._pool.size) == 1:
            return LocalExecutor().run_collective(function, size)
        try:
            return self._once(function, size)
        except RayActorError:
            self._pool.replace_all()
        try:
            return self._once(function, size)
        except RayActorError as cause:
            raise EngineError(f"Ray workers died twice while they did the same work: {reason(cause)}") from cause

    def _once(self, function: Callable[[Exchange], Result], size: int) -> Result:
        workers = self._pool.workers_of_one_machine()[:size]
        shared = ray.put(function)
        port = ray.get(workers[0].open_store.remote())
        references = [worker.join.remote(shared, rank, len(workers), port) for rank, worker in enumerate(workers)]
        failures = _failures(references)
        for failure in failures:
            if isinstance(failure, RayActorError):  # the failures of the others follow from it
                raise failure
        if failures:
            self._pool.replace_all()
            raise EngineError(f"a Ray worker failed: {reason(failures[0])}") from failures[0]
        result: Result | Raised = ray.get(references[0])
        return unwrap(result)


def _failures(references: list[ObjectRef[Any]]) -> list[RayError]:
    """Wait for all, or until one died: the others may be waiting for it."""
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
    """Make a job of one item; `name` identifies it for the caller."""
    return Job(lambda worker: [worker.run.remote(function, item)], name)


def unwrap(result: Result | Raised) -> Result:
    """Return the result of a job, or raise the error that it raised."""
    if isinstance(result, Raised):
        raise result.error
    return result
