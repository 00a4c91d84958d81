"""Independent pieces of work on Ray workers; see `fedkd.engines.tasks`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from fedkd.engines.ray_executor import job_of, unwrap
from fedkd.engines.ray_pool import RayPool
from fedkd.engines.tasks import Died

Item = TypeVar("Item")
Result = TypeVar("Result")


class RayTasks:
    """Does one item at a time on each worker of a pool."""

    def __init__(self, pool: RayPool) -> None:
        self._pool = pool

    @property
    def workers(self) -> int:
        """How many items are worked on at a time."""
        return self._pool.size

    def results(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | Died]]:
        """Yield each item with its result as soon as it is there.

        Raises:
            EngineError: the function raised an error that is none of ours.
        """
        for outcome in self._pool.dispatch([job_of(function, item, item) for item in items]):
            yield outcome.job.item, Died(outcome.why) if outcome.kind == "died" else unwrap(outcome.value)
