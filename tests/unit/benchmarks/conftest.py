"""Makes `benchmarks` importable, which is no part of the package; and a small experiment for the plain loop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3]))

from fedkd.config.experiment import ExperimentConfig, parse_config


@pytest.fixture
def tiny_config() -> Callable[..., ExperimentConfig]:
    """Digits over three skewed clients; sections can be changed. 65 public samples: a batch of 32 and one of 33."""

    def make(**sections: dict[str, Any]) -> ExperimentConfig:
        values: dict[str, dict[str, Any]] = {
            "run": {"rounds": 3, "baselines": False, "device": "cpu"},
            "data": {"train_size": 150, "test_size": 80, "public": {"size": 65}, "partition": {"min_size": 5}},
            "clients": {"number": 3, "models": ["mlp"]},
            "training": {"epochs": 2, "batch_size": 16, "learning_rate": 0.05},
            "student": {"model": "mlp", "epochs": 2, "batch_size": 32},
        }
        return parse_config({name: values.get(name, {}) | sections.get(name, {}) for name in values | sections})

    return make
