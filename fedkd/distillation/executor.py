"""Where work that can be divided is done: one interface, in this process or on the workers of an engine.

Guarantees:
    - `map` keeps the order of its items. `gang` runs one function in several workers at the same time and gives back
      what the first of them returned.
    - An error that the work raises is raised here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from fedkd.distillation.shards import Alone, Exchange

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Does work in `workers` places at a time. Functions, items and results must survive pickling."""

    @property
    def workers(self) -> int:
        """How many items are worked on at a time."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return what `function` makes of each item, in the order of the items."""

    def gang(self, function: Callable[[Exchange], Result], size: int) -> Result:
        """Run `function` in up to `size` workers that can exchange tensors; return the first one's result."""


class LocalExecutor:
    """Does everything in this process, one after the other."""

    workers = 1

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return what `function` makes of each item."""
        return [function(item) for item in items]

    def gang(self, function: Callable[[Exchange], Result], size: int) -> Result:
        """Run `function` once; the bits of a sharded distillation do not depend on who computes the shards."""
        del size
        return function(Alone())
