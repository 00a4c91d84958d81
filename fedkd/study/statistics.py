"""Means over seeds, and paired tests between points. Pure functions of rows.

Guarantees:
    - The standard deviation is the sample's (n - 1); one seed has none.
    - Two points are compared over the seeds that both have, and only where at least two are left.
    - Holm's correction holds the chance of any false finding in the whole study at the level that p is compared with.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from scipy import stats

from fedkd.study.points import Scalar
from fedkd.study.rows import Row

PointKey = tuple[Scalar, ...]
"""The values on all axes."""

STUDENT, CLIENTS = "student_accuracy", "clients_mean_accuracy"


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation over `n` seeds; `deviation` is `None` for a single one."""

    mean: float
    deviation: float | None
    n: int


@dataclass(frozen=True)
class Comparison:
    """Two points over `n` common seeds: mean difference (first - second), p, and p after Holm's correction.

    `p` is `None` where all differences are the same, so that nothing can be estimated.
    """

    first: PointKey
    second: PointKey
    figure: str
    n: int
    difference: float
    p: float | None
    adjusted: float | None = None


def by_point(rows: Sequence[Row], axes: Sequence[str]) -> dict[PointKey, list[Row]]:
    """Group rows by their values on all axes, in the order of their first appearance."""
    groups: dict[PointKey, list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[axis] for axis in axes), []).append(row)
    return groups


def spread(values: Sequence[float | None]) -> Spread | None:
    """Return mean and standard deviation of the values that are there; `None` where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None, len(known))


def headline(rows: Sequence[Row]) -> str:
    """Return the figure that stands for a point: its student's accuracy, or its clients' mean where it has none."""
    return STUDENT if any(row.get(STUDENT) is not None for row in rows) else CLIENTS


def compare(
    rows: Sequence[Row], axes: Sequence[str], test: Literal["t", "wilcoxon"], *, all_pairs: bool = False
) -> list[Comparison]:
    """Test all pairs of points that differ in one axis, or all pairs, and correct p for their number."""
    found = []
    for (first, ours), (second, theirs) in itertools.combinations(by_point(rows, axes).items(), 2):
        if all_pairs or sum(a != b for a, b in zip(first, second, strict=True)) == 1:
            figure = STUDENT if headline(ours) == headline(theirs) == STUDENT else CLIENTS
            differences = _paired_differences(ours, theirs, figure)
            if len(differences) > 1:
                p = _p_value(differences, test)
                found.append(Comparison(first, second, figure, len(differences), statistics.fmean(differences), p))
    adjusted = iter(holm([comparison.p for comparison in found if comparison.p is not None]))
    return [each if each.p is None else replace(each, adjusted=next(adjusted)) for each in found]


def _paired_differences(ours: Sequence[Row], theirs: Sequence[Row], figure: str) -> list[float]:
    first, second = (_by_seed(rows, figure) for rows in (ours, theirs))
    return [first[seed] - second[seed] for seed in first if seed in second]


def _by_seed(rows: Sequence[Mapping[str, Any]], figure: str) -> dict[int, float]:
    return {row["seed"]: row[figure] for row in rows if row.get(figure) is not None}


def _p_value(differences: Sequence[float], test: Literal["t", "wilcoxon"]) -> float | None:
    if max(differences) - min(differences) < 1e-12:  # of accuracies: the same difference for every seed
        return None
    if test == "wilcoxon":
        return float(stats.wilcoxon(differences).pvalue)
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values after Holm's step-down correction, in the order given.

    The k-th smallest of m is multiplied by m - k + 1, made no smaller than the one before it, and cut at 1.
    """
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
