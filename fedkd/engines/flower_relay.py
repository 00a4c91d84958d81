"""The server app of engine `flower`: it runs in a process of Flower's, and tells the process that asked for the run.

A `Mailbox` is a folder that only this user can read. What happens is put there as a `Letter`; whoever reads it calls
its observer, as if the federation ran in its own process. A line in the run's log says that there are new letters.
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
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult, run_server_app
from fedkd.flower.internals import log_our_errors_as_lines
from fedkd.records import Refusal, RoundRecord

MAILBOX_KEY = "mailbox"
"""Key of Flower's run config that holds the folder of the mailbox."""

logger = logging.getLogger("flwr")
"""Flower's own: what it is told goes into the run's log."""

app = ServerApp()


@dataclass(frozen=True)
class Letter:
    """A call of an observer's method: its name and arguments."""

    method: str
    arguments: tuple[Any, ...]


class Mailbox:
    """Letters, then a result or an error, from one process to another, in order and never half written.

    Args:
        folder: a folder that is there; only this user may write into it, as what lies there is unpickled.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._written = folder, 0

    def put(self, item: Letter | FederationResult | FedkdError) -> None:
        """Add an item."""
        self._written += 1
        path = self._folder / f"{self._written:09d}"
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_bytes(pickle.dumps(item))
        os.replace(unfinished, path)

    def take(self) -> Iterator[Letter | FederationResult | FedkdError]:
        """Remove and yield every item that is there."""
        for path in sorted(path for path in self._folder.iterdir() if not path.suffix):
            content = path.read_bytes()
            path.unlink()
            yield pickle.loads(content)  # noqa: S301 - written by our own process into a folder of this user's


class _Relay(Observer):
    """Puts what it hears into a mailbox."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def on_clients(self, clients: Sequence[int], refused: Sequence[Refusal]) -> None:
        self._mailbox.put(Letter("on_clients", (clients, refused)))
        logger.info("%d clients take part", len(clients))

    def on_reply(self, server_round: int, replies: int, expected: int) -> None:
        self._mailbox.put(Letter("on_reply", (server_round, replies, expected)))

    def on_phase(self, server_round: int, phase: str) -> None:
        self._mailbox.put(Letter("on_phase", (server_round, phase)))
        logger.info("round %d: %s", server_round, phase)

    def on_round(self, record: RoundRecord) -> None:
        self._mailbox.put(Letter("on_round", (record,)))
        logger.info("round %d is over", record.server_round)


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the federation; whatever happens is in the mailbox."""
    log_our_errors_as_lines()
    mailbox = Mailbox(Path(str(context.run_config[MAILBOX_KEY])))
    try:
        mailbox.put(run_server_app(grid, context, _Relay(mailbox)))
    except FedkdError as error:
        mailbox.put(error)
        raise
