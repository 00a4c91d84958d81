from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkd.study.statistics import by_point, compare, holm, spread

AXES = ["method.name", "alpha"]


def rows_of(accuracies: dict[tuple[str, float], list[float | None]], figure: str = "student_accuracy") -> list[dict]:
    return [
        {"method.name": method, "alpha": alpha, "seed": seed, "student_accuracy": None, figure: value}
        for (method, alpha), values in accuracies.items()
        for seed, value in enumerate(values)
    ]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_mean_and_deviation_are_those_of_numpy(values: list[float]) -> None:
    found = spread(values)
    assert found is not None
    assert found.n == len(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.deviation == pytest.approx(np.std(values, ddof=1), abs=1e-12)


def test_what_was_not_measured_is_left_out() -> None:
    assert spread([None, None]) is None
    one = spread([None, 0.5])
    assert one is not None
    assert (one.mean, one.deviation, one.n) == (0.5, None, 1)


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04; the last is raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.floats(0.001, 0.2))
def test_holm_rejects_what_its_step_down_procedure_rejects(p_values: list[float], level: float) -> None:
    """The definition: go up the sorted p values, and stop at the first above level / (number left)."""
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        scaled = (len(p_values) - rank) * p_values[index]
        if scaled > level:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(p_values)) if p <= level} == rejected


def test_the_paired_t_test_is_that_of_the_textbook() -> None:
    first, second = [0.80, 0.84, 0.88], [0.70, 0.78, 0.80]
    (found,) = compare(rows_of({("a", 1.0): first, ("b", 1.0): second}), AXES, "t")
    differences = np.subtract(first, second)
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(3))
    # With two degrees of freedom Student's distribution has a closed form: P(|T| > t) = 1 - t / sqrt(t² + 2).
    assert found.p == pytest.approx(1 - t / math.sqrt(t**2 + 2))
    assert found.difference == pytest.approx(differences.mean())
    assert (found.n, found.adjusted) == (3, found.p)


def test_the_smallest_p_of_wilcoxon_is_the_chance_of_equal_signs() -> None:
    first = [0.1 * seed + 0.01 * seed**2 for seed in range(1, 7)]
    (found,) = compare(rows_of({("a", 1.0): first, ("b", 1.0): [0.0] * 6}), AXES, "wilcoxon")
    assert found.p == pytest.approx(2.0**-5)


def test_only_points_that_differ_in_one_axis_are_compared() -> None:
    values = {(m, a): [hash((m, a, s)) % 97 / 97 for s in range(3)] for m in "ab" for a in (0.1, 1.0)}
    rows = rows_of(values)
    pairs = [(each.first, each.second) for each in compare(rows, AXES, "t")]
    assert pairs == [
        (("a", 0.1), ("a", 1.0)),
        (("a", 0.1), ("b", 0.1)),
        (("a", 1.0), ("b", 1.0)),
        (("b", 0.1), ("b", 1.0)),
    ]
    assert len(compare(rows, AXES, "t", all_pairs=True)) == 6


def test_only_common_seeds_count_and_one_is_no_test() -> None:
    rows = rows_of({("a", 1.0): [0.1, 0.2, 0.4], ("b", 1.0): [0.3, None, 0.5], ("c", 1.0): [None, 0.2, None]})
    found = compare(rows, AXES, "t")
    assert [(each.first[0], each.second[0], each.n) for each in found] == [("a", "b", 2)]


def test_equal_differences_have_no_p_and_raise_no_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = compare(rows_of({("a", 1.0): [0.5, 0.6, 0.7], ("b", 1.0): [0.4, 0.5, 0.6]}), AXES, "t")
    assert (found.p, found.adjusted) == (None, None)


def test_points_without_a_student_are_compared_by_their_clients() -> None:
    rows = rows_of({("fedmd", 1.0): [0.5, 0.7]}, "clients_mean_accuracy")
    rows += [row | {"clients_mean_accuracy": 0.4} for row in rows_of({("fkd", 1.0): [0.9, 0.8]})]
    (found,) = compare(rows, AXES, "t")
    assert found.figure == "clients_mean_accuracy"
    assert found.difference == pytest.approx(0.2)


def test_groups_keep_the_order_of_their_first_appearance() -> None:
    rows = rows_of({("b", 1.0): [0.1], ("a", 1.0): [0.2], ("b", 0.1): [0.3]})
    assert list(by_point(rows, AXES)) == [("b", 1.0), ("a", 1.0), ("b", 0.1)]
