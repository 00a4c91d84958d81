"""The script that compares what a small transformer learns from runs on mails made here, and draws what it prints."""

from __future__ import annotations

import json
import runpy
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "simulations" / "distillation" / "texts.py"


def test_every_way_of_learning_has_a_row_and_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    names, given = runpy.run_path(str(SCRIPT)), tmp_path / "mails.jsonl"
    texts = ("see you at the meeting", "click for your prize")
    given.write_text("\n".join(json.dumps({"text": f"{n} {texts[n % 2]}", "label": n % 2}) for n in range(120)))
    small = names["one_seed"].__globals__
    monkeypatch.setitem(small, "SIZES", {"train_size": 40, "test_size": 40, "public": {"size": 40, "labelled": True}})
    monkeypatch.setattr(
        sys, "argv", [str(SCRIPT), str(given), "--seeds", "1", "--epochs", "1", "--plot", f"{given}.svg"]
    )
    names["main"]()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == [*names["VARIANTS"], "(the teacher itself)"]
    assert all(0 < float(row[1]) <= 100 and float(row[2]) == 0 for row in rows)
    assert "logits, attention" in ET.parse(f"{given}.svg").getroot().attrib["aria-label"]  # noqa: S314  # our own file
