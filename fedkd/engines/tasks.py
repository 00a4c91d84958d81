"""Long, independent pieces of work, done in this process or by Ray workers; results come as they are there.

Guarantees:
    - Every item has one outcome: what the function returned, or why it has no result.
    - When a worker process dies, only its item is affected: it is tried once more, then given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from flwr.clientapp import ClientApp

from fedkd.config.experiment import RayConfig
from fedkd.federation.threads import one_torch_thread

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Died:
    """The processes that worked on an item died; `why` says what is known of it."""

    why: str


class Tasks(Protocol):
    """Processes `workers` items at a time, in their order, each with one torch thread."""

    @property
    def workers(self) -> int:
        """Number of items that are processed at a time."""

    def results(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | Died]]:
        """Yield each item with its result as soon as it is there. `function` and items must survive pickling."""


class LocalTasks:
    """Processes every item in this process; if the process dies, all items are lost."""

    workers = 1

    def results(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result | Died]]:
        """Yield each item with its result, one after the other."""
        for item in items:
            with one_torch_thread():
                result = function(item)
            yield item, result


@contextmanager
def open_tasks(config: RayConfig, at_most: int) -> Iterator[Tasks]:
    """Have at most `at_most` workers while the block runs; one worker without a cluster is this process itself.

    Raises:
        EngineError: Ray cannot be started, there is no cluster at the address, or workers cannot be placed.
        ConfigError: more workers than the machines have resources for.
    """
    if not config.address and (config.workers == 1 or at_most <= 1):
        yield LocalTasks()
        return
    from fedkd.engines.ray_pool import RayPool  # Ray is slow to import
    from fedkd.engines.ray_session import ray_session
    from fedkd.engines.ray_tasks import RayTasks
    from fedkd.engines.ray_worker import SetUp

    share = {"cpus": config.cpus_per_worker, "gpus": config.gpus_per_worker}
    with ray_session(config, at_most=at_most) as workers, RayPool(workers, SetUp(_client_app, {}), **share) as pool:
        yield RayTasks(pool)


def _client_app() -> ClientApp:
    """Load what any item needs before the first one is given out."""
    from fedkd.engines.absence import app

    return app
