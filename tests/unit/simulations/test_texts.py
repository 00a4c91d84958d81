"""The script that compares what a small transformer learns from runs on mails made here, and draws what it prints."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[3] / "simulations" / "distillation"


def test_every_way_of_learning_has_a_row_and_a_place_in_the_plot(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    names, mails, drawn = runpy.run_path(str(FOLDER / "texts.py")), tmp_path / "mails.jsonl", tmp_path / "made.svg"
    texts = ("see you at the meeting", "click for your prize")
    mails.write_text("\n".join(json.dumps({"text": f"{n} {texts[n % 2]}", "label": n % 2}) for n in range(120)))
    small = {"train_size": 40, "test_size": 40, "public": {"size": 40, "labelled": True}}
    monkeypatch.setitem(names["main"].__globals__, "SIZES", small)
    monkeypatch.setattr(sys, "argv", ["texts.py", str(mails), "--seeds", "1", "--epochs", "1", "--plot", str(drawn)])
    names["main"]()
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == list(names["VARIANTS"])
    assert all(0 < float(row[1].removesuffix(" ± 0.0")) <= 100 for row in rows)
    drawing = drawn.read_text(encoding="utf-8")
    ElementTree.fromstring(drawing)  # noqa: S314 (made here)
    assert all(f">{row[0]}<" in drawing for row in rows)
    monkeypatch.setattr(sys, "argv", ["texts.py"])
    with pytest.raises(SystemExit, match="needs MAILS"):
        names["main"]()
