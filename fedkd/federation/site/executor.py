"""`fedkd client run`: the process that stays, starts the courier and answers what it brings."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import FrameType

import torch

from fedkd._version import __version__
from fedkd.errors import EngineError
from fedkd.federation.bundle import bundle_hash
from fedkd.federation.site.audit import AuditLog
from fedkd.federation.site.courier import courier
from fedkd.federation.site.desk import Desk
from fedkd.federation.site.holdings import read_holdings
from fedkd.federation.site.runtime import TaskQueue
from fedkd.federation.site.settings import SiteConfig
from fedkd.federation.site.state import SiteState
from fedkd.reporting.files import locked

logger = logging.getLogger(__name__)

_POLL = 0.05
"""Seconds between two looks for a task; a look is one request on the loopback interface."""


def run_site(site: SiteConfig) -> None:
    """Serve until SIGTERM or an interrupt.

    Raises:
        DataError: a data folder is missing, empty or not to be read.
        RunFolderError: the state folder cannot be written, or another process serves from it.
        EngineError: the SuperNode ended, or takes no reply; start anew.
    """
    holdings = read_holdings(site)
    state = SiteState(site.state_path)
    with locked(state.folder, state.folder / "lock", patience=0), _ends_on_sigterm():
        desk = Desk(site, holdings, state, AuditLog(state.folder / "audit.jsonl"))
        torch.optim.SGD([torch.zeros(1)], lr=1.0)  # loads torch's compiler, for seconds: here, not in a round
        logger.info("client %d, fedkd %s, bundle %s", site.client, __version__, bundle_hash())
        with courier(site) as (process, address), closing(TaskQueue(address)) as queue:
            _serve(desk, process, queue)


def log_to_stderr() -> None:
    """Let fedkd say what it does, a line each; other libraries keep quiet."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("fedkd")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)


def _serve(desk: Desk, process: subprocess.Popen[bytes], queue: TaskQueue) -> None:
    while process.poll() is None:
        token = queue.take()
        if token is None:
            time.sleep(_POLL)
            continue
        with queue.open(token) as task:
            task.reply(desk.answer(task.message, task.context, task.bundle))
    raise EngineError(f"the SuperNode ended with exit code {process.returncode}; its last words are above")


@contextmanager
def _ends_on_sigterm() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
