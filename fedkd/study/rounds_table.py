"""A study's figures as two Markdown tables, made from its `rounds.csv` alone: means over seeds, and every round."""

from __future__ import annotations

from collections.abc import Sequence

from fedkd.reporting.formatting import MISSING
from fedkd.reporting.text_table import TextTable
from fedkd.study.markdown import markdown_table
from fedkd.study.points import short_key, word
from fedkd.study.rows import BASELINES, Row, axes_of
from fedkd.study.statistics import by_point, headline
from fedkd.study.summary import figure_label, points_table

_ANY = "any"


def study_block(rounds: Sequence[Row]) -> str:
    """Return means ± standard deviations after the last round, and a row of accuracies in % for every curve."""
    axes = axes_of(rounds[0])
    final = [_final(rows) for rows in by_point(rounds, ["cell"]).values()]
    note = "Mean ± standard deviation over seeds (number of seeds) after the last round, in %:"
    every = "Every round, in %:"
    return "\n".join(
        [note, "", markdown_table(points_table(final, axes)), every, "", markdown_table(_curves(rounds, axes))]
    )


def _final(rows: Sequence[Row]) -> Row:
    """The last round of a cell, with the bytes of all of its rounds where they are known."""
    totals = {
        name: None if any(row.get(name) is None for row in rows) else sum(row[name] for row in rows)
        for name in ("bytes_up", "bytes_down")
    }
    return rows[-1] | totals


def _curves(rounds: Sequence[Row], axes: Sequence[str]) -> TextTable:
    numbers = sorted({row["round"] for row in rounds})
    head = ("accuracy of", *map(short_key, axes), "seed", *map(str, numbers))
    cells = list(by_point(rounds, ["cell"]).values())
    body = _baseline_curves(cells, axes)
    for rows in cells:
        figure = headline(rows)
        body.append((figure_label(figure), *(word(rows[0][axis]) for axis in axes), *_seed_and_values(rows, figure)))
    return TextTable(head, tuple(body), "t" * (1 + len(axes)) + "n" * (1 + len(numbers)))


def _baseline_curves(cells: Sequence[Sequence[Row]], axes: Sequence[str]) -> list[tuple[str, ...]]:
    """Each baseline once, however many cells share it; an axis that it does not depend on holds `any`."""
    body = []
    for baseline in BASELINES:
        figure = f"{baseline}_accuracy"
        shared: dict[tuple[object, ...], list[Sequence[Row]]] = {}
        for rows in cells:
            if rows[-1].get(figure) is not None:
                curve = tuple(row[figure] for row in rows)
                shared.setdefault((rows[0]["seed"], curve), []).append(rows)
        for group in shared.values():
            values = [{word(rows[0][axis]) for rows in group} for axis in axes]
            names = [next(iter(each)) if len(each) == 1 else _ANY for each in values]
            body.append((figure_label(figure), *names, *_seed_and_values(group[0], figure)))
    return body


def _seed_and_values(rows: Sequence[Row], figure: str) -> tuple[str, ...]:
    values = [MISSING if row.get(figure) is None else f"{100 * row[figure]:.1f}" for row in rows]
    return (str(rows[0]["seed"]), *values[:-1], f"**{values[-1]}**")
