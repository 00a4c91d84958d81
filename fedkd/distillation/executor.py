"""One interface for work that can be divided: it is done in this process, or by the workers of an engine.

Guarantees:
    - `map` keeps the order of its items. `run_collective` runs one function in several workers at the same time and
      returns the result of the first worker.
    - An error that the work raises is raised to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from fedkd.distillation.shards import Alone, Exchange

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Does work on `workers` workers at a time. Functions, items and results must survive pickling."""

    @property
    def workers(self) -> int:
        """Number of items that are processed at a time."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return the result of `function` for each item, in the order of the items."""

    def run_collective(self, function: Callable[[Exchange], Result], size: int) -> Result:
        """Run `function` in up to `size` workers that can exchange tensors; return the first one's result."""


class LocalExecutor:
    """Does everything in this process, one after the other."""

    workers = 1

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return the result of `function` for each item."""
        return [function(item) for item in items]

    def run_collective(self, function: Callable[[Exchange], Result], size: int) -> Result:
        """Run `function` once; the bits of a sharded distillation do not depend on who computes the shards."""
        del size
        return function(Alone())
