"""The server app of the engine `flower`: it runs in a process of Flower and reports to the one that started the run.

The two processes share a `FileQueue`, a folder that only this user can read. Each call of an observer is put there as
an `ObserverCall`. The process that started the run makes the same calls, as if the federation ran in it. A new line in
the log of the run says that there are new items.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedkd.errors import FedkdError
from fedkd.federation.answers import RoundArrays
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult, run_server_app
from fedkd.flower.internals import log_our_errors_as_lines
from fedkd.records import Refusal, RoundRecord

QUEUE_KEY = "queue"
"""Key of Flower's run config that holds the folder of the queue."""

ARRAYS_KEY = "arrays"
"""Key of Flower's run config that says whether somebody hears of the arrays of rounds."""

logger = logging.getLogger("flwr")
"""Flower's own logger; its lines go into the log of the run."""

app = ServerApp()


@dataclass(frozen=True)
class ObserverCall:
    """A call of an observer's method: its name and arguments."""

    method: str
    arguments: tuple[Any, ...]


class FileQueue:
    """Observer calls, then a result or an error, from one process to another; in order, and each whole or absent.

    Args:
        folder: an existing folder into which only this user may write, because its content is unpickled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._written = folder, 0

    def put(self, item: ObserverCall | FederationResult | FedkdError) -> None:
        """Add an item."""
        self._written += 1
        path = self._folder / f"{self._written:09d}"
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_bytes(pickle.dumps(item))
        os.replace(unfinished, path)

    def take(self) -> Iterator[ObserverCall | FederationResult | FedkdError]:
        """Remove and yield every item that is in the queue."""
        for path in sorted(path for path in self._folder.iterdir() if not path.suffix):
            content = path.read_bytes()
            path.unlink()
            yield pickle.loads(content)  # noqa: S301 - written by our own process into a folder of this user's


class _Relay(Observer):
    """Puts every call into a queue; those with arrays, which may be large, only where somebody hears them."""

    def __init__(self, queue: FileQueue, arrays: bool) -> None:
        self._queue, self._arrays = queue, arrays

    def on_clients(self, clients: Sequence[int], refused: Sequence[Refusal]) -> None:
        self._queue.put(ObserverCall("on_clients", (clients, refused)))
        logger.info("%d clients take part", len(clients))

    def on_reply(self, server_round: int, replies: int, expected: int) -> None:
        self._queue.put(ObserverCall("on_reply", (server_round, replies, expected)))

    def on_phase(self, server_round: int, phase: str) -> None:
        self._queue.put(ObserverCall("on_phase", (server_round, phase)))
        logger.info("round %d: %s", server_round, phase)

    def on_arrays(self, server_round: int, arrays: RoundArrays) -> None:
        if self._arrays:
            self._queue.put(ObserverCall("on_arrays", (server_round, arrays)))

    def on_round(self, record: RoundRecord) -> None:
        self._queue.put(ObserverCall("on_round", (record,)))
        logger.info("round %d is over", record.server_round)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation; put the observer calls and the outcome into the queue."""
    log_our_errors_as_lines()
    queue = FileQueue(Path(str(context.run_config[QUEUE_KEY])))
    try:
        relay = _Relay(queue, arrays=bool(context.run_config[ARRAYS_KEY]))
        queue.put(run_server_app(grid, context, relay))
    except FedkdError as error:
        queue.put(error)
        raise
