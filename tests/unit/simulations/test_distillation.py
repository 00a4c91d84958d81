"""The experiments on distillation run on what everybody has, print a row for each variant, and draw them."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parents[3] / "simulations" / "distillation"
ROWS = {
    "digits": 7,
    "layers": 7,
    "tasks": 6,
    "bound": 4,
    "batch_norm": 4,
    "batch_norm --federation classes": 2,
}


@pytest.mark.parametrize("experiment", ROWS)
def test_every_variant_has_a_row_and_a_place_in_the_plot(experiment, monkeypatch, capsys, tmp_path) -> None:
    script, *options = experiment.split()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(FOLDER))
    path = str(FOLDER / f"{script}.py")
    monkeypatch.setattr(sys, "argv", [path, *options, "--seeds", "1", "--epochs", "1", "--plot", "plots/made.svg"])
    runpy.run_path(path, run_name="__main__")
    printed, told = capsys.readouterr()
    head, _, *rows = [line.strip("| ").split(" | ") for line in printed.splitlines() if line.startswith("|")]
    assert len({row[0] for row in rows}) == len(rows) == ROWS[experiment]
    for row in rows:
        assert len(row) == len(head)
        assert all(re.match(r"-?\d+\.\d ± 0\.0$", cell) for cell in row[1:] if "±" in cell)
    drawing = Path("plots/made.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(drawing)  # noqa: S314 (made here)
    assert all(f">{row[0]}<" in drawing for row in rows)
    if experiment == "bound":
        assert "4 of 4 students within the bound" in printed
        spoken = ElementTree.fromstring(drawing).attrib["aria-label"]  # noqa: S314
        assert f"student's error: from {rows[0][1].split()[0]} to {rows[-1][1].split()[0]} %" in spoken
    if experiment == "batch_norm":
        assert float(told.split()[-1]) < 1e-5
