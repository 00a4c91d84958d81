from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fedkd.study import Study, load_study

BASE = """
[run]
rounds = 2
baselines = false
[data]
train_size = 200
test_size = 100
[data.public]
size = 60
[data.partition]
min_size = 5
[clients]
number = 4
models = ["mlp"]
[student]
model = "mlp"
"""

MakeStudy = Callable[[str], Study]


@pytest.fixture
def study_path(tmp_path: Path) -> Callable[[str], Path]:
    """Write a study file beside a small experiment; its name and base are there already."""

    def write(text: str) -> Path:
        (tmp_path / "base.toml").write_text(BASE, encoding="utf-8")
        path = tmp_path / "study.toml"
        path.write_text(f'name = "small"\nbase = "base.toml"\n{text}', encoding="utf-8")
        return path

    return write


@pytest.fixture
def study(study_path: Callable[[str], Path], tmp_path: Path) -> MakeStudy:
    """Load a study from the text of its file; it writes into the test's own folder."""
    return lambda text: load_study(study_path(text), tmp_path / "runs")
