"""`fedkd client run`: starts the SuperNode process and answers the messages that it receives, until it is stopped."""

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
from fedkd.flower.task_queue import MessageLostError, TaskQueue
from fedkd.site.audit import AuditLog
from fedkd.site.check import check_superlink
from fedkd.site.handler import MessageHandler
from fedkd.site.local_data import read_local_data
from fedkd.site.settings import SiteConfig
from fedkd.site.state import SiteState
from fedkd.site.supernode_process import supernode_process
from fedkd.storage.files import locked

logger = logging.getLogger(__name__)

_POLL = 0.05
"""Seconds between two requests for a task, which go over the loopback interface."""


def run_site(site: SiteConfig) -> None:
    """Serve until SIGTERM or an interrupt.

    Raises:
        ConfigError: the identity or the roster cannot be used, or the SuperLink's certificate is not trusted.
        DataError: a data folder is missing, is empty or cannot be read.
        RunFolderError: the state folder cannot be written, or another process uses it.
        EngineError: the SuperNode has ended, or does not accept a reply; start the site again.
    """
    data = read_local_data(site)
    credentials = None
    if site.identity is not None and site.roster is not None:
        credentials = read_credentials(Path(site.identity), Path(site.roster), site.client)
    state = SiteState(site.state_path)
    with locked(state.folder, state.folder / "lock", patience=0), _ends_on_sigterm() as stopping:
        handler = MessageHandler(site, data, state, AuditLog(state.folder / "audit.jsonl"), credentials)
        torch.optim.SGD(
            [torch.zeros(1)], lr=1.0
        )  # torch loads its compiler now, which takes seconds, and not in a round
        logger.info("client %d, fedkd %s, bundle %s", site.client, __version__, bundle_hash())
        look_often_for_objects()
        _check_superlink(site)
        with supernode_process(site) as (process, address), closing(TaskQueue(address)) as queue:
            _serve(handler, process, queue, stopping)


def log_to_stderr() -> None:
    """Write the log of fedkd to stderr; other libraries write nothing."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    ours = logging.getLogger("fedkd")
    ours.addHandler(handler)
    ours.setLevel(logging.INFO)


def _check_superlink(site: SiteConfig) -> None:
    """Report a SuperLink that cannot be trusted; Flower's SuperNode would retry for ever and say nothing.

    A SuperLink that is not up yet is waited for.
    """
    try:
        logger.info("%s", check_superlink(site))
    except ConfigError as problem:
        if isinstance(problem.__cause__, ssl.SSLError):
            raise
        logger.warning("%s; waiting for it", problem)


def _serve(
    handler: MessageHandler, process: subprocess.Popen[bytes], queue: TaskQueue, stopping: threading.Event
) -> None:
    while process.poll() is None:
        if stopping.is_set():  # Python drops the exception of the signal handler if it is raised in a finaliser
            raise SystemExit(0)
        token = queue.take()
        if token is None:
            time.sleep(_POLL)
            continue
        try:
            with queue.open(token) as task:
                task.reply(handler.answer(task.message, task.context, task.bundle))
        except MessageLostError as lost:
            logger.warning("%s", lost)
    raise EngineError(f"the SuperNode ended with exit code {process.returncode}; see its last lines above")


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
