"""Small experiments on real digits, grids whose clients misbehave, and sites over a SuperLink."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.engines import LocalGrid, process_guard
from fedkd.engines.absence import app as client_app
from fedkd.engines.flower import answers, guarded, runtime_environment
from fedkd.engines.simulation import run_apps
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.flower.app_bundle import EXPERIMENT_KEY
from fedkd.flower.ports import free_port

Tamper = Callable[[int, Message], Message | None]
"""(client, its reply) -> what the server gets instead; `None` for nothing."""


def deep_update(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge nested dictionaries."""
    return values | {
        key: deep_update(values.get(key, {}), change) if isinstance(change, dict) else change
        for key, change in changes.items()
    }


@pytest.fixture
def small_config() -> Callable[..., ExperimentConfig]:
    """A federation on digits that takes a second or two; sections can be changed."""

    def make(**sections: Any) -> ExperimentConfig:
        values: dict[str, Any] = {
            "run": {"rounds": 2, "baselines": False},
            "data": {"train_size": 200, "test_size": 100, "public": {"size": 60}, "partition": {"min_size": 5}},
            "clients": {"number": 4, "models": ["mlp"]},
            "training": {"epochs": 1, "learning_rate": 0.05},
            "student": {"model": "mlp", "epochs": 2},
        }
        return parse_config(deep_update(values, sections))

    return make


class TamperingGrid(LocalGrid):
    """A local grid on whose way replies are changed."""

    def __init__(self, config: ExperimentConfig, tamper: Tamper, message_type: str) -> None:
        super().__init__(client_app, config.clients.number, {EXPERIMENT_KEY: config.model_dump_json()})
        self._tamper, self._message_type = tamper, message_type

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        for reply in super().send_and_receive(messages, timeout=timeout):
            if reply.metadata.message_type != self._message_type:
                yield reply
                continue
            tampered = self._tamper(reply.metadata.src_node_id - 1, reply)
            if tampered is not None:
                yield tampered


@pytest.fixture
def run_tampered() -> Callable[..., FederationResult]:
    """Run a federation whose replies of one message type are changed on their way."""

    def run(config: ExperimentConfig, tamper: Tamper, message_type: str = "train") -> FederationResult:
        return run_apps(TamperingGrid(config, tamper, message_type), config, Observer())

    return run


CLIENT = [sys.executable, "-c", "from fedkd.cli.main import main; main()", "client", "run"]


class Loopback:
    """A SuperLink, and sites that join it, on this machine; the sites' data are those of a trial in its folder."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.folder, self._running, self._port = folder, running, free_port()
        self._environment = runtime_environment(folder)
        self._num_clients = len(list((folder / "trial").glob("client-*")))
        address = f"127.0.0.1:{self._port}"
        (folder / "config.toml").write_text(f'[superlink.loopback]\naddress = "{address}"\ninsecure = true\n')
        (folder / "link").mkdir()
        command = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(self._port)]
        assert answers(self._port, running.enter_context(guarded(folder / "link", command, self._environment)))

    def describe(self, client: int, *more: str) -> Path:
        """Write a client's SITE.toml, `more` as further lines of it; returns where it lies."""
        path = self.folder / "trial" / f"client-{client}" / "site.toml"
        lines = (f"client = {client}", f"num_clients = {self._num_clients}")
        lines += (f'superlink = "127.0.0.1:{self._port}"', "insecure = true")
        lines += ('private = "private"', 'public = "public"', 'state = "state"', *more)
        path.write_text("\n".join(lines))
        return path

    def start(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        """Start a program that is stopped at the end at the latest."""
        file = self._running.enter_context(log.open("ab"))
        process = subprocess.Popen(command, env=self._environment, stderr=subprocess.STDOUT, stdout=file)
        self._running.callback(process.wait)
        self._running.callback(process.terminate)
        return process

    def site(self, client: int) -> subprocess.Popen[bytes]:
        """Start a client; its log lies in its folder."""
        path = self.describe(client)
        return self.start([*CLIENT, str(path)], path.parent / "log")

    def submit(self, app: Path, config: ExperimentConfig) -> subprocess.Popen[str]:
        """Start a run; its log is its output."""
        (self.folder / "run.toml").write_text(f"experiment = {json.dumps(config.model_dump_json())}\n")
        command = ["flwr", "run", str(app), "loopback", "--run-config", str(self.folder / "run.toml"), "--stream"]
        run = subprocess.Popen(
            command, env=self._environment, stderr=subprocess.STDOUT, stdout=subprocess.PIPE, text=True
        )
        self._running.callback(run.communicate)
        self._running.callback(run.kill)
        return run

    def audit(self, client: int) -> list[dict[str, Any]]:
        """What a site has written down."""
        path = self.folder / "trial" / f"client-{client}" / "state" / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def wait_for(self, client: int, released: str, server_round: int, skip: int = 0, seconds: float = 120.0) -> None:
        """Wait until a site has released something in a round; its first `skip` lines do not count."""
        deadline = time.monotonic() + seconds
        while (released, server_round) not in [
            (line.get("released"), line["round"]) for line in self.audit(client)[skip:]
        ]:
            assert time.monotonic() < deadline, self.audit(client)
            time.sleep(0.05)


@pytest.fixture
def start_loopback() -> Iterator[Callable[[Path], Loopback]]:
    """Start a SuperLink over a folder that holds a trial; everything ends with the test, and nothing is left."""
    before = set(process_guard.descendants(os.getpid()))
    with ExitStack() as running:
        yield lambda folder: Loopback(folder, running)
    assert set(process_guard.descendants(os.getpid())) <= before  # of those before, some may have ended since
