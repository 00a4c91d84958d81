"""A study in tables of text, for Markdown and HTML alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from fedkd.reporting.formatting import MISSING, size
from fedkd.reporting.measures import LABELS
from fedkd.reporting.text_table import TextTable
from fedkd.study.points import Scalar, short_key, word
from fedkd.study.rows import FIGURES, Row
from fedkd.study.statistics import PointKey, Spread, by_point, compare, headline, spread

_LABELS = {f"{measure}_accuracy": label for measure, label in LABELS.items()} | {
    "local_only_accuracy": "local-only",
    "centralised_accuracy": "centralised",
}
FEWEST_FOR_WILCOXON = 6
"""With n pairs the smallest two-sided p of Wilcoxon's test is 2^(1-n): below 0.05 from six pairs on."""


def figure_label(figure: str) -> str:
    """Return what a figure is called in tables and plots."""
    return _LABELS[figure]


def point_label(axes: Sequence[str], key: Sequence[Scalar]) -> str:
    """Return a point in words: `method.name=fkd, dirichlet_alpha=0.1`."""
    return ", ".join(f"{short_key(axis)}={word(value)}" for axis, value in zip(axes, key, strict=True)) or "all cells"


def points_table(rows: Sequence[Row], axes: Sequence[str]) -> TextTable:
    """Return mean ± standard deviation (number of seeds) of all figures, a row for each point."""
    figures = [figure for figure in FIGURES if any(row.get(figure) is not None for row in rows)]
    traffic = [name for name in ("bytes_up", "bytes_down") if any(row.get(name) is not None for row in rows)]
    head = (*map(short_key, axes), *(f"{_LABELS[figure]}, %" for figure in figures), *(n[6:] for n in traffic))
    body = [
        (
            *map(word, key),
            *(percents(spread([row.get(figure) for row in group])) for figure in figures),
            *(_mean_size(group, name) for name in traffic),
        )
        for key, group in by_point(rows, axes).items()
    ]
    return TextTable(head, tuple(body), "t" * len(axes) + "n" * (len(figures) + len(traffic)))


def percents(found: Spread | None) -> str:
    """Return accuracies as `"87.5 ± 1.2 (3)"`, in %, or a dash."""
    if found is None:
        return MISSING
    deviation = "" if found.deviation is None else f" ± {100 * found.deviation:.1f}"
    return f"{100 * found.mean:.1f}{deviation} ({found.n})"


def _mean_size(rows: Sequence[Row], name: str) -> str:
    found = spread([row.get(name) for row in rows])
    return MISSING if found is None else size(round(found.mean))


def comparisons_table(
    rows: Sequence[Row], axes: Sequence[str], test: Literal["t", "wilcoxon"], *, all_pairs: bool
) -> TextTable:
    """Return the paired tests, a row for each pair of points: what they share, and in what they differ."""
    body = [
        (
            *_shared_and_own(axes, each.first, each.second),
            _LABELS[each.figure],
            str(each.n),
            f"{100 * each.difference:+.1f}",
            _p(each.p),
            _p(each.adjusted),
        )
        for each in compare(rows, axes, test, all_pairs=all_pairs)
    ]
    return TextTable(("where", "A", "B", "of", "seeds", "A − B, points", "p", "p (Holm)"), tuple(body), "ttttnnnn")


def _shared_and_own(axes: Sequence[str], first: PointKey, second: PointKey) -> tuple[str, str, str]:
    different = [index for index, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    shared = [index for index in range(len(axes)) if index not in different]

    def words(key: PointKey, indices: Sequence[int]) -> str:
        return point_label([axes[index] for index in indices], [key[index] for index in indices])

    return words(first, shared) if shared else "", words(first, different), words(second, different)


def comparisons_note(test: Literal["t", "wilcoxon"], tests: int, seeds: int) -> str:
    """Return how to read the tests: which, how many, and what so few seeds can show."""
    names = {"t": "Student's paired t-test", "wilcoxon": "Wilcoxon's signed-rank test"}
    note = f"{names[test]} over seeds, two-sided, Holm's correction for {tests} comparisons."
    least = 2.0 ** (1 - seeds)
    if test == "wilcoxon" and seeds < FEWEST_FOR_WILCOXON:
        return f'{note} With {seeds} seeds its p is never below {least:g}: it cannot find anything; use test = "t".'
    if test == "t" and seeds < FEWEST_FOR_WILCOXON:
        note += (
            f" With {seeds} seeds only the t-test has power (a rank test's p is never below {least:g}); it takes "
            "differences between seeds for normal, which so few cannot show."
        )
    return f"{note} A dash: the same difference for every seed."


def failures_table(rows: Sequence[Row]) -> TextTable:
    """Return the cells that failed, and why."""
    body = tuple((row["cell"], row["error"]) for row in rows if row["state"] == "failed")
    return TextTable(("cell", "error"), body, "tt")


def without_student(rows: Sequence[Row], axes: Sequence[str]) -> list[str]:
    """Return the points that have no student, so that their clients' mean stands for them."""
    return [
        point_label(axes, key) for key, group in by_point(rows, axes).items() if headline(group) != "student_accuracy"
    ]


def _p(value: float | None) -> str:
    if value is None:
        return MISSING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
