"""`fedkd client run`: the process that stays, starts the courier and answers what it brings."""

from __future__ import annotations

import logging
import signal
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import torch

from fedkd._version import __version__
from fedkd.errors import ConfigError, EngineError
from fedkd.federation.secure.identities import read_credentials
from fedkd.flower.app_bundle import bundle_hash
from fedkd.flower.object_pulls import look_often_for_objects
from fedkd.site.audit import AuditLog
from fedkd.site.check import check_superlink
from fedkd.site.flower_runtime import MessageLostError, TaskQueue
from fedkd.site.handler import Desk
from fedkd.site.local_data import read_holdings
from fedkd.site.settings import SiteConfig
from fedkd.site.state import SiteState
from fedkd.site.supernode_process import courier
from fedkd.storage.files import locked

logger = logging.getLogger(__name__)

_POLL = 0.05
"""Seconds between two looks for a task; a look is one request on the loopback interface."""


def run_site(site: SiteConfig) -> None:
    """Serve until SIGTERM or an interrupt.

    Raises:
        ConfigError: the identity or the roster cannot be used, or the SuperLink's certificate is not vouched for.
        DataError: a data folder is missing, empty or not to be read.
        RunFolderError: the state folder cannot be written, or another process serves from it.
        EngineError: the SuperNode ended, or takes no reply; start anew.
    """
    holdings = read_holdings(site)
    credentials = None
    if site.identity is not None and site.roster is not None:
        credentials = read_credentials(Path(site.identity), Path(site.roster), site.client)
    state = SiteState(site.state_path)
    with locked(state.folder, state.folder / "lock", patience=0), _ends_on_sigterm() as stopping:
        desk = Desk(site, holdings, state, AuditLog(state.folder / "audit.jsonl"), credentials)
        torch.optim.SGD([torch.zeros(1)], lr=1.0)  # loads torch's compiler, for seconds: here, not in a round
        logger.info("client %d, fedkd %s, bundle %s", site.client, __version__, bundle_hash())
        look_often_for_objects()
        _look_for_superlink(site)
        with courier(site) as (process, address), closing(TaskQueue(address)) as queue:
            _serve(desk, process, queue, stopping)


def log_to_stderr() -> None:
    """Let fedkd say what it does, a line each; other libraries keep quiet."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("fedkd")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)


def _look_for_superlink(site: SiteConfig) -> None:
    """Say at once what Flower's SuperNode would try in silence for ever; one that is not up yet is waited for."""
    try:
        logger.info("%s", check_superlink(site))
    except ConfigError as problem:
        if isinstance(problem.__cause__, ssl.SSLError):
            raise
        logger.warning("%s; waiting for it", problem)


def _serve(desk: Desk, process: subprocess.Popen[bytes], queue: TaskQueue, stopping: threading.Event) -> None:
    while process.poll() is None:
        if stopping.is_set():  # where the signal met a finaliser, Python has dropped its exception
            raise SystemExit(0)
        token = queue.take()
        if token is None:
            time.sleep(_POLL)
            continue
        try:
            with queue.open(token) as task:
                task.reply(desk.answer(task.message, task.context, task.bundle))
        except MessageLostError as lost:
            logger.warning("%s", lost)
    raise EngineError(f"the SuperNode ended with exit code {process.returncode}; its last words are above")


@contextmanager
def _ends_on_sigterm() -> Iterator[threading.Event]:
    stopping = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        stopping.set()
        raise SystemExit(0)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield stopping
    finally:
        signal.signal(signal.SIGTERM, before)
