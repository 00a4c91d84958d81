"""What is stated of measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.engine import choose_cases, parse_arguments
from benchmarks.measure import Measurement
from benchmarks.ratios import EQUALITIES, RATIOS, Equality, Ratio, medians
from benchmarks.table import as_json, as_markdown, machine


def took(name: str, wall: float, **others: Any) -> Measurement:
    return Measurement(**{"name": name, "wall": wall, "cpu": 1.0, "peak_mib": 100.0, "load_before": 0.0, **others})


def test_a_ratio_is_of_medians_and_its_target_is_inclusive() -> None:
    of_case = medians([took("x", 9), took("y", 1), took("x", 2), took("y", 4), took("x", 3), took("y", 2)])
    ratio = Ratio("b", "x / y", "wall", "x", "y", ("<=", 1.5))
    assert ratio.value(of_case) == 1.5
    assert ratio.met(of_case) is True
    assert Ratio("b", "x / y", "wall", "x", "y", ("<", 1.5)).met(of_case) is False
    assert Ratio("b", "x / y", "wall", "x", "y").met(of_case) is None


@pytest.mark.parametrize("other", [[], [took("y", 1, error="exit 1: no")], [took("y", 1), took("y", 1, error="no")]])
def test_no_number_stands_for_a_case_that_failed_or_is_missing(other: list[Measurement]) -> None:
    ratio = Ratio("b", "x / y", "wall", "x", "y", ("<=", 1.5))
    of_case = medians([took("x", 2), *other])
    assert ratio.value(of_case) is None
    assert ratio.met(of_case) is None


def test_equal_results_are_told_from_unequal_ones() -> None:
    equality = Equality("equal", "student", ("x", "y", "z"))
    same = [took("x", 1, values={"student": "a"}), took("y", 1, values={"student": "a"})]
    assert equality.holds(medians(same)) is True
    assert equality.holds(medians([*same, took("z", 1, values={"student": "b"})])) is False
    assert equality.holds(medians(same[:1])) is None


def test_every_ratio_and_equality_is_of_cases_that_are_run() -> None:
    chosen = [*choose_cases([], Path("data"), quick=False), *choose_cases([], Path("data"), quick=True)]
    names = {case.name for case in chosen}
    assert {name for ratio in RATIOS for name in (ratio.over, ratio.under)} <= names
    assert {name for equality in EQUALITIES for name in equality.names} <= names


def test_the_table_shows_verdicts_and_failures_and_the_json_every_repetition() -> None:
    rounds = [took("a/flower", 30, rounds=10.0), took("a/local", 1, rounds=1.0), took("a/ray", 9, error="exit 1: why")]
    table = as_markdown(machine(), rounds)
    assert "| a: wall of the rounds, Flower / local | 10.00 | >= 20 | NO |" in table
    assert "- `a/ray` failed: exit 1: why" in table
    assert "Flower / ray" not in table
    written = as_json(machine(), [*rounds, *rounds])
    assert len(written["measurements"]) == 6
    assert [ratio["met"] for ratio in written["ratios"]] == [False]


@pytest.mark.parametrize("arguments", [["e"], ["--repeat", "0"]])
def test_what_cannot_be_run_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(arguments)
    assert "is not allowed" in capsys.readouterr().err
