"""The script that compares what a student learns from runs, and prints a row for each way."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "simulations" / "distillation" / "digits.py"


def test_every_way_of_learning_has_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--seeds", "1", "--epochs", "1"])
    names = runpy.run_path(str(SCRIPT), run_name="__main__")["VARIANTS"]
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == list(names)
    assert all(0 < float(row[1]) <= 100 and float(row[2]) == 0 for row in rows)
