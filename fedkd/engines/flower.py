"""The engine `flower`: the same two apps in Flower's simulation runtime, each client in a Ray actor.

    parent ── starts ── guard ── starts ── flower-superlink ── … ── flwr-simulation (server app, Ray)
       └── submits the app by `flwr run`, and reads the queue into which the server app writes

All of it lives in one temporary folder, listens on loopback only, and ends with the run, however that ends.
"""

from __future__ import annotations

import http.client
import itertools
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import tomli_w

from fedkd.config.experiment import ExperimentConfig, with_absolute_paths
from fedkd.engines import process_guard
from fedkd.engines.flower_relay import ARRAYS_KEY, QUEUE_KEY, FileQueue
from fedkd.errors import ConfigError, FedkdError, RoundError
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.flower.app_bundle import EXPERIMENT_KEY, app_manifest
from fedkd.flower.internals import HEALTH_PATH, RUNTIME_ENVIRONMENT
from fedkd.flower.ports import free_port

_CONNECTION = "fedkd"
_START_TIMEOUT = 60.0
"""Seconds in which the SuperLink must answer."""


def run_under_flower(config: ExperimentConfig, observer: Observer) -> FederationResult:
    """Run the experiment's federation in Flower's simulation runtime.

    Raises:
        ConfigError: this is not a POSIX system.
        RoundError: Flower's runtime did not start, or ended without a result.
        FedkdError: whatever the server app raised.
    """
    if os.name != "posix":
        raise ConfigError("run.engine", "flower", "a POSIX system; here use 'local'")
    folder = Path(tempfile.mkdtemp(prefix="fedkd-"))
    port = free_port()
    queue = _write_home(folder, port, with_absolute_paths(config), observer.hears_arrays)
    environment = runtime_environment(folder)
    last_lines: deque[str] = deque(maxlen=20)
    with _superlink(folder, port, environment), _submitted(folder, config.clients.number, environment) as log:
        for line in itertools.chain(log, [""]):  # once more after the end
            last_lines.append(line)
            if (result := _deliver(queue, observer)) is not None:
                return result
    raise RoundError(f"Flower's runtime ended without a result; its last lines: {' '.join(last_lines)}")


def _deliver(queue: FileQueue, observer: Observer) -> FederationResult | None:
    """Tell the observer what has happened since; returns the result, if there is one."""
    for item in queue.take():
        if isinstance(item, FedkdError):
            raise item
        if isinstance(item, FederationResult):
            return item
        getattr(observer, item.method)(*item.arguments)
    return None


def _write_home(folder: Path, port: int, config: ExperimentConfig, arrays: bool) -> FileQueue:
    """Write what Flower needs: its own configuration, the app, and the run's configuration."""
    queue, app = folder / "queue", folder / "app"
    queue.mkdir()
    app.mkdir()
    connection = {"address": f"127.0.0.1:{port}", "insecure": True}
    _write_toml(folder / "config.toml", {"superlink": {"default": _CONNECTION, _CONNECTION: connection}})
    run_config = {EXPERIMENT_KEY: config.model_dump_json(), QUEUE_KEY: str(queue), ARRAYS_KEY: arrays}
    _write_toml(folder / "run.toml", run_config)
    defaults: dict[str, str | bool] = {QUEUE_KEY: "", ARRAYS_KEY: False}
    manifest = app_manifest("fedkd.engines.flower_relay:app", **defaults)
    _write_toml(app / "pyproject.toml", manifest)
    return FileQueue(queue)


def _write_toml(path: Path, content: dict[str, object]) -> None:
    path.write_text(tomli_w.dumps(content), encoding="utf-8")


def runtime_environment(folder: Path) -> dict[str, str]:
    """This process's environment, so that Flower's processes find its programs and modules."""
    programs = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    modules = os.pathsep.join(os.path.abspath(path) for path in sys.path)  # "" stands for this folder
    return os.environ | RUNTIME_ENVIRONMENT | {"FLWR_HOME": str(folder), "PATH": programs, "PYTHONPATH": modules}


@contextmanager
def guarded(folder: Path, command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server while the block runs; `guard` says how it ends. The process is the guard's, which ends early where
    the server does; `folder`, which holds the server's log, is removed.
    """
    process = subprocess.Popen(  # noqa: S603 - our own programs
        [sys.executable, process_guard.__file__, str(folder), *command],
        env=environment,
        stdin=subprocess.PIPE,
        start_new_session=True,  # an interrupt from the terminal is ours to pass on
    )
    try:
        yield process
    finally:
        process.communicate()  # closes its standard input, and waits
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _superlink(folder: Path, port: int, environment: dict[str, str]) -> Iterator[None]:
    command = ["flower-superlink", "--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)]
    with guarded(folder, command, environment) as process:
        if not answers(port, process):
            words = (folder / process_guard.LOG_NAME).read_text(errors="replace").split()[-50:]
            raise RoundError(f"flower-superlink does not answer; its last lines: {' '.join(words)}")
        yield


def answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether a SuperLink on this machine answers before its process ends, and before `_START_TIMEOUT` is over."""
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
        with closing(connection), suppress(OSError, http.client.HTTPException):
            connection.request("GET", HEALTH_PATH)
            if connection.getresponse().status == http.HTTPStatus.OK:
                return True
        time.sleep(0.1)
    return False


@contextmanager
def _submitted(folder: Path, num_clients: int, environment: dict[str, str]) -> Iterator[Iterator[str]]:
    """Submit the app; the lines of the run's log come until the run ends."""
    federation = f"num-supernodes={num_clients} client-resources-num-cpus=1"
    command = ["flwr", "run", str(folder / "app"), _CONNECTION, "--stream", "--run-config", str(folder / "run.toml")]
    with subprocess.Popen(  # noqa: S603 - our own programs
        [*command, "--federation-config", federation],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            yield map(str.strip, process.stdout or ())
        finally:
            process.kill()
