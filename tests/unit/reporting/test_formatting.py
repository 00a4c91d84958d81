from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkd.reporting.formatting import duration, number, percent, points, size, size_unit

FACTORS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"), (4_055_000, "4.1 MB")],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


@given(st.integers(min_value=0, max_value=10**17))
def test_size_reads_back_to_within_its_last_digit(count: int) -> None:
    amount, unit = size(count).split()
    assert abs(float(amount) * FACTORS[unit] - count) <= 0.0501 * FACTORS[unit]


@given(st.integers(min_value=0, max_value=10**17))
def test_size_unit_leaves_at_least_one_and_less_than_a_thousand(count: int) -> None:
    per_unit, name = size_unit(count)
    assert per_unit == FACTORS[name]
    assert count < 1000 or (count / per_unit >= 1 and (count / per_unit < 1000 or name == "PB"))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (185.2, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7620.0, "2 h 07 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_none_is_a_dash() -> None:
    assert percent(None) == number(None) == points(None, 0.5) == points(0.5, None) == "–"


def test_points_are_differences_of_percentages() -> None:
    assert points(0.8025, 0.6512) == "+15.1 points"
    assert points(0.60, 0.65) == "-5.0 points"
    assert points(0.60001, 0.60002) == "+0.0 points"
