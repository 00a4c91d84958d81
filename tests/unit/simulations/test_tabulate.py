"""The tables of results are what the committed figures of their studies say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from fedkd.study import load_study
from fedkd.study.rows import axes_of, read_csv

SIMULATIONS = Path(__file__).parents[3] / "simulations"
STUDIES = sorted(SIMULATIONS.glob("studies/*.toml"))


@pytest.fixture(scope="module")
def tabulate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tabulate", SIMULATIONS / "tabulate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_table_was_edited_by_hand(tabulate: ModuleType) -> None:
    document = (SIMULATIONS / "README.md").read_text(encoding="utf-8")
    assert tabulate.rewritten(document) == document
    assert [block[1] for block in tabulate.BLOCK.findall(document)] == ["digits-methods", "mnist-methods"]
    first = document.index("**", document.index("<!-- study:")) + 2
    edited = document[:first] + ("9" if document[first] != "9" else "8") + document[first + 1 :]
    assert tabulate.rewritten(edited) == document


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_has_the_figures_of_all_its_cells(path: Path) -> None:
    study = load_study(path)
    rows = read_csv(path.with_suffix(".csv"))
    assert axes_of(rows[0]) == study.axes
    assert study.config.name == path.stem
    rounds = study.cells[0].config.run.rounds
    expected = [(cell.name, *cell.point.values(), cell.seed, n) for cell in study.cells for n in range(1, rounds + 1)]
    assert [(row["cell"], *(row[axis] for axis in study.axes), row["seed"], row["round"]) for row in rows] == expected


def test_a_baseline_that_methods_share_stands_once(tabulate: ModuleType) -> None:
    rows = [
        {
            "cell": method,
            "method.name": method,
            "seed": 0,
            "round": n,
            "student_accuracy": 0.5,
            "local_only_accuracy": 0.25,
        }
        for method in ("fkd", "fedavg")
        for n in (1, 2)
    ]
    lines = tabulate.study_block(rows).splitlines()
    assert lines[2:6] == [
        "| method.name | student, % | local-only, % |",
        "| --- | ---: | ---: |",
        "| fkd | 50.0 (1) | 25.0 (1) |",
        "| fedavg | 50.0 (1) | 25.0 (1) |",
    ]
    assert lines.count("| local-only | any | 0 | 25.0 | **25.0** |") == 1
