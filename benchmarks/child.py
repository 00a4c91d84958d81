"""The inside of a measurement: `python -m benchmarks.child MODULE:FUNCTION ARGUMENTS.json RESULT`.

The function is called with a `Stopwatch` and the arguments; what it returns and the marks are written to RESULT.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.process_tree import ProcessTree


class Stopwatch:
    """Marks where the rounds begin and end. `begin` counts once, the last `end` counts."""

    def __init__(self) -> None:
        self._tree = ProcessTree(os.getpid())
        self._begun: tuple[float, float] | None = None
        self._ended: tuple[float, float] | None = None

    def begin(self) -> None:
        """The first measured round begins."""
        if self._begun is None:
            cpu = self._tree.cpu_seconds()  # first: looking takes some milliseconds, which are not the rounds'
            self._begun = (time.monotonic(), cpu)

    def end(self) -> None:
        """A round has ended."""
        self._ended = (time.monotonic(), self._tree.cpu_seconds())

    def marks(self) -> dict[str, float]:
        """When the rounds began (monotonic clock of the machine), and the wall and CPU seconds that they took."""
        if self._begun is None:
            return {}
        if self._ended is None:
            return {"begun": self._begun[0]}
        return {
            "begun": self._begun[0],
            "rounds": self._ended[0] - self._begun[0],
            "rounds_cpu": self._ended[1] - self._begun[1],
        }


def main(function: str, arguments: str, result: str) -> None:
    """Call the function and write what is to be told."""
    module, _, name = function.partition(":")
    watch = Stopwatch()
    values: dict[str, Any] = getattr(importlib.import_module(module), name)(watch, **json.loads(arguments))
    Path(result).write_text(json.dumps({"values": values, **watch.marks()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
