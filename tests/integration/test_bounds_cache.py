from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import RunFolderError
from fedkd.federation import bounds_cache
from fedkd.federation.bounds_cache import cached_bounds
from fedkd.federation.workspace import open_workspace
from fedkd.records import Bounds

MakeConfig = Callable[..., ExperimentConfig]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the bounds that were trained, in order; the first has an accuracy of 1/2, the second of 1/3, …"""
    seeds: list[int] = []

    def train(config: ExperimentConfig, *_: Any) -> Bounds:
        seeds.append(config.run.seed)
        return Bounds(local_only=1 / (len(seeds) + 1), centralised=1.0)

    monkeypatch.setattr(bounds_cache, "train_bounds", train)
    return seeds


@pytest.fixture
def bounds(small_config: MakeConfig, tmp_path: Path) -> Callable[..., Bounds]:
    """Bounds of a small experiment whose sections can be changed; all share one output folder."""

    def compute(**sections: Any) -> Bounds:
        config = small_config(**sections | {"run": {"output": str(tmp_path)} | sections.get("run", {})})
        return cached_bounds(config, open_workspace(config), lambda *_: None)

    return compute


@pytest.mark.parametrize(
    "changed",
    [
        {"run": {"name": "other", "evaluate_clients_every": 2}},
        {"method": {"name": "fedmd", "public_per_round": 30}},
        {"student": {"epochs": 9}},
        {"payload": {"encoding": "int8"}},
        {"clients": {"fraction_train": 0.5, "dropout_rate": 0.5}},
    ],
)
def test_what_does_not_touch_the_bounds_shares_them(
    changed: dict[str, Any], bounds: Callable[..., Bounds], trainings: list[int]
) -> None:
    assert bounds() == bounds(**changed)
    assert trainings == [0]


@pytest.mark.parametrize(
    "changed",
    [
        {"run": {"seed": 1}},
        {"run": {"rounds": 1}},
        {"clients": {"number": 3}},
        {"clients": {"models": ["mlp", "cnn"]}},
        {"student": {"model": "cnn"}},
        {"training": {"learning_rate": 0.04}},
        {"data": {"test_size": 99}},
        {"data": {"public": {"size": 61}}},
        {"data": {"partition": {"kind": "iid"}}},
        {"data": {"heterogeneity": {"label_noise": 0.2}}},
    ],
)
def test_what_changes_the_bounds_has_its_own(
    changed: dict[str, Any], bounds: Callable[..., Bounds], trainings: list[int]
) -> None:
    first = bounds()
    assert bounds(**changed) != first
    assert len(trainings) == 2
    assert bounds() == first
    assert len(trainings) == 2


@pytest.mark.parametrize("content", [b"", b"{", b'{"local_only": "high"}', b'{"local_only": NaN}', b"\xff"])
def test_damaged_bounds_are_trained_anew(
    content: bytes,
    bounds: Callable[..., Bounds],
    tmp_path: Path,
    trainings: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bounds()
    (cached,) = (tmp_path / ".bounds").glob("*.json")
    cached.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = bounds()
    assert again.local_only == 1 / 3
    assert str(cached) in caplog.text
    assert Bounds.model_validate_json(cached.read_bytes()) == again


def test_runs_that_need_the_same_bounds_at_once_train_them_once(
    bounds: Callable[..., Bounds], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[int] = []

    def train(config: ExperimentConfig, *_: Any) -> Bounds:
        trainings.append(config.run.seed)
        time.sleep(0.2)  # long enough for the others to arrive
        return Bounds(local_only=0.5, centralised=1.0)

    monkeypatch.setattr(bounds_cache, "train_bounds", train)
    monkeypatch.setattr(bounds_cache, "_fingerprint", lambda name, _: name)  # threads share torch's generator
    with ThreadPoolExecutor(max_workers=3) as pool:
        found = list(
            pool.map(lambda temperature: bounds(student={"objective": {"temperature": temperature}}), (1.0, 2.0, 3.0))
        )
    assert found == [Bounds(local_only=0.5, centralised=1.0)] * 3
    assert trainings == [0]


@pytest.mark.usefixtures("trainings")
def test_a_cache_that_cannot_be_written_is_an_error(bounds: Callable[..., Bounds], tmp_path: Path) -> None:
    (tmp_path / ".bounds").write_text("a file where the folder should be")
    with pytest.raises(RunFolderError, match=r"\.bounds"):
        bounds()
