"""Clients at sites over Flower's SuperLink: the student of the simulation, refusals, and a site that is restarted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from fedkd.config.experiment import ExperimentConfig, load_config
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer
from fedkd.flower.app_bundle import write_app
from fedkd.run_reports import read_run
from fedkd.site.export import export

pytestmark = pytest.mark.slow

MakeConfig = Callable[..., ExperimentConfig]


def bits(weights: dict[str, Any]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in weights.items()}


def named(config: ExperimentConfig, name: str, rounds: int) -> ExperimentConfig:
    return config.model_copy(update={"run": config.run.model_copy(update={"name": name, "rounds": rounds})})


def test_two_sites(small_config: MakeConfig, start_loopback: Callable[[Path], Any], tmp_path: Path) -> None:
    """One SuperLink for all of it, as starting Flower's processes is what takes the time."""
    clients = {"number": 2, "models": ["mlp", "cnn"], "min_train_nodes": 2, "deadline": 60.0}
    simulated = small_config(run={"rounds": 1}, clients=clients)
    trial = export(simulated, tmp_path / "trial").parent
    deployed = load_config(trial / "experiment.toml", [f"run.output={tmp_path}"])
    write_app(tmp_path / "app")
    loopback = start_loopback(tmp_path)
    loopback.site(0)
    second = loopback.site(1)

    log, _ = loopback.submit(tmp_path / "app", named(deployed, "first", 1)).communicate(timeout=300)
    assert "2 clients take part" in log, log
    expected = simulate(simulated, Observer()).student
    assert expected is not None
    assert bits(load_file(tmp_path / "first" / "student.safetensors")) == bits(expected)
    assert [line["released"] for line in loopback.audit(1)] == ["introduction", "answers on public samples"]

    run = loopback.submit(tmp_path / "app", named(deployed, "restarted", 3))
    loopback.wait_for(1, "answers on public samples", 1, skip=len(loopback.audit(1)))
    second.terminate()
    assert second.wait(30) == 0
    loopback.site(1)
    run.communicate(timeout=300)
    assert read_run(tmp_path / "restarted").history[-1].replied == (0, 1)

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
    manifest.write_text(manifest.read_text().replace("fedkd.engines.absence:app", "own_client:app"))
    mark = f"open({str(marker)!r}, 'w').close()\n"
    (folder / "own_client.py").write_text(f"from fedkd.engines.absence import app\n{mark}__all__ = ['app']\n")
    return folder
