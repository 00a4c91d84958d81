from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import RunFolderError
from fedkd.federation import baselines_cache
from fedkd.federation.baselines_cache import cached_baselines
from fedkd.federation.workspace import open_workspace
from fedkd.records import Baselines

MakeConfig = Callable[..., ExperimentConfig]


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the baselines that were trained, in order; the first has an accuracy of 1/2, the second of 1/3, …"""
    seeds: list[int] = []

    def train(config: ExperimentConfig, *_: Any) -> Baselines:
        seeds.append(config.run.seed)
        return Baselines(local_only=1 / (len(seeds) + 1), centralised=1.0)

    monkeypatch.setattr(baselines_cache, "train_baselines", train)
    return seeds


@pytest.fixture
def baselines(small_config: MakeConfig, tmp_path: Path) -> Callable[..., Baselines]:
    """Baselines of a small experiment whose sections can be changed; all share one output folder."""

    def compute(**sections: Any) -> Baselines:
        config = small_config(**sections | {"run": {"output": str(tmp_path)} | sections.get("run", {})})
        return cached_baselines(config, open_workspace(config), lambda *_: None)

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
def test_what_does_not_touch_the_baselines_shares_them(
    changed: dict[str, Any], baselines: Callable[..., Baselines], trainings: list[int]
) -> None:
    assert baselines() == baselines(**changed)
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
        {"training": {"augmentation": ["flip"]}},
        {"data": {"test_size": 99}},
        {"data": {"public": {"size": 61}}},
        {"data": {"partition": {"kind": "iid"}}},
        {"data": {"heterogeneity": {"label_noise": 0.2}}},
    ],
)
def test_what_changes_the_baselines_has_its_own(
    changed: dict[str, Any], baselines: Callable[..., Baselines], trainings: list[int]
) -> None:
    first = baselines()
    assert baselines(**changed) != first
    assert len(trainings) == 2
    assert baselines() == first
    assert len(trainings) == 2


def test_changed_code_behind_an_import_path_has_its_own(
    baselines: Callable[..., Baselines], trainings: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration names the same function; what it does is another."""
    monkeypatch.syspath_prepend(tmp_path)
    module = tmp_path / "augmentation_of_the_cache.py"
    seen = []
    for factor in (1, 1, 2):
        module.write_text(f"def scaled(inputs, rng):\n    return {factor} * inputs\n", encoding="utf-8")
        seen.append(baselines(training={"augmentation": ["augmentation_of_the_cache:scaled"]}))
    sys.modules.pop("augmentation_of_the_cache")
    assert seen[0] == seen[1] != seen[2]
    assert len(trainings) == 2


@pytest.mark.parametrize("content", [b"", b"{", b'{"local_only": "high"}', b'{"local_only": NaN}', b"\xff"])
def test_damaged_baselines_are_trained_anew(
    content: bytes,
    baselines: Callable[..., Baselines],
    tmp_path: Path,
    trainings: list[int],
    caplog: pytest.LogCaptureFixture,
) -> None:
    baselines()
    (cached,) = (tmp_path / ".baselines").glob("*.json")
    cached.write_bytes(content)
    with caplog.at_level(logging.WARNING):
        again = baselines()
    assert again.local_only == 1 / 3
    assert str(cached) in caplog.text
    assert Baselines.model_validate_json(cached.read_bytes()) == again


def test_runs_that_need_the_same_baselines_at_once_train_them_once(
    baselines: Callable[..., Baselines], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainings: list[int] = []

    def train(config: ExperimentConfig, *_: Any) -> Baselines:
        trainings.append(config.run.seed)
        time.sleep(0.2)  # long enough for the others to arrive
        return Baselines(local_only=0.5, centralised=1.0)

    monkeypatch.setattr(baselines_cache, "train_baselines", train)
    monkeypatch.setattr(baselines_cache, "_fingerprint", lambda name, _: name)  # threads share torch's generator
    with ThreadPoolExecutor(max_workers=3) as pool:
        found = list(
            pool.map(
                lambda temperature: baselines(student={"objective": {"temperature": temperature}}), (1.0, 2.0, 3.0)
            )
        )
    assert found == [Baselines(local_only=0.5, centralised=1.0)] * 3
    assert trainings == [0]


@pytest.mark.usefixtures("trainings")
def test_a_cache_that_cannot_be_written_is_an_error(baselines: Callable[..., Baselines], tmp_path: Path) -> None:
    (tmp_path / ".baselines").write_text("a file where the folder should be")
    with pytest.raises(RunFolderError, match=r"\.baselines"):
        baselines()
