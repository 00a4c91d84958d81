"""Clients at sites over Flower's SuperLink: the student of the simulation, refusals, and a site that is restarted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from fedkd.config import ExperimentConfig, load_config
from fedkd.experiment import read_run
from fedkd.federation.bundle import write_app
from fedkd.federation.engines import guard
from fedkd.federation.engines.flower import answers, free_port, guarded, runtime_environment
from fedkd.federation.observers import Observer
from fedkd.federation.simulation import simulate
from fedkd.federation.site.export import export

pytestmark = pytest.mark.slow

MakeConfig = Callable[..., ExperimentConfig]

CLIENT = [sys.executable, "-c", "from fedkd.cli import main; main()", "client", "run"]


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    before = set(guard.descendants(os.getpid()))
    yield
    assert set(guard.descendants(os.getpid())) == before


class Loopback:
    """A SuperLink and two sites on this machine."""

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.folder, self._running, self._port = folder, running, free_port()
        self._environment = runtime_environment(folder)
        address = f"127.0.0.1:{self._port}"
        (folder / "config.toml").write_text(f'[superlink.loopback]\naddress = "{address}"\ninsecure = true\n')
        (folder / "link").mkdir()
        command = ["flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(self._port)]
        assert answers(self._port, running.enter_context(guarded(folder / "link", command, self._environment)))

    def site(self, client: int) -> subprocess.Popen[str]:
        """Start a client; it is stopped at the end at the latest."""
        place = self.folder / "trial" / f"client-{client}"
        (place / "site.toml").write_text(
            f'client = {client}\nnum_clients = 2\nsuperlink = "127.0.0.1:{self._port}"\ninsecure = true\n'
            'private = "private"\npublic = "public"\nstate = "state"\n'
        )
        process = subprocess.Popen(
            [*CLIENT, str(place / "site.toml")],
            env=self._environment,
            stderr=subprocess.STDOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running.callback(process.communicate)
        self._running.callback(process.terminate)
        return process

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


def wait_for(what: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def bits(weights: dict[str, Any]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in weights.items()}


def named(config: ExperimentConfig, name: str, rounds: int) -> ExperimentConfig:
    return config.model_copy(update={"run": config.run.model_copy(update={"name": name, "rounds": rounds})})


def test_two_sites(small_config: MakeConfig, tmp_path: Path) -> None:
    """One SuperLink for all of it, as starting Flower's processes is what takes the time."""
    clients = {"number": 2, "models": ["mlp", "cnn"], "min_train_nodes": 2, "deadline": 60.0}
    simulated = small_config(run={"rounds": 1}, clients=clients)
    trial = export(simulated, tmp_path / "trial").parent
    deployed = load_config(trial / "experiment.toml", [f"run.output={tmp_path}"])
    write_app(tmp_path / "app")
    with ExitStack() as running:
        loopback = Loopback(tmp_path, running)
        loopback.site(0)
        second = loopback.site(1)

        log, _ = loopback.submit(tmp_path / "app", named(deployed, "first", 1)).communicate(timeout=300)
        assert "2 clients take part" in log, log
        expected = simulate(simulated, Observer()).student
        assert expected is not None
        assert bits(load_file(tmp_path / "first" / "student.safetensors")) == bits(expected)
        assert [line["released"] for line in loopback.audit(1)] == ["introduction", "logits"]

        run = loopback.submit(tmp_path / "app", named(deployed, "restarted", 3))
        wait_for(lambda: len(loopback.audit(1)) == 4)  # it has answered the first round
        second.terminate()
        assert second.wait(30) == 0
        loopback.site(1)
        run.communicate(timeout=300)
        assert read_run(tmp_path / "restarted")[1].history[-1].replied == (0, 1)

        tampered = app_with_code(tmp_path / "tampered", marker := tmp_path / "executed")
        refused = loopback.submit(tampered, named(deployed, "refused", 1))
        log, _ = refused.communicate(timeout=300)
        assert "policy: client 0: PolicyError: allowed_bundles" in log, log
        assert all("allowed_bundles" in loopback.audit(client)[-1]["refused"] for client in (0, 1))
        assert not marker.exists()


def app_with_code(folder: Path, marker: Path) -> Path:
    """The app, but with a client app of its own, which leaves a mark where it is imported."""
    write_app(folder)
    manifest = folder / "pyproject.toml"
    manifest.write_text(manifest.read_text().replace("fedkd.federation.client_app:app", "own_client:app"))
    mark = f"open({str(marker)!r}, 'w').close()\n"
    (folder / "own_client.py").write_text(f"from fedkd.federation.client_app import app\n{mark}__all__ = ['app']\n")
    return folder
