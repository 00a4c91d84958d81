"""What the plots of a study draw: curves with their spread, laid out in panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fedkd.study.points import Scalar, short_key, word
from fedkd.study.rows import Row
from fedkd.study.statistics import CLIENTS, PointKey, Spread, by_point, headline, spread

MOST_PANELS = 9


@dataclass(frozen=True)
class Curve:
    """One line: positions, and mean and deviation over seeds at each, accuracies in %."""

    label: str
    x: tuple[float, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


@dataclass(frozen=True)
class Panel:
    """One set of axes: a title, and its curves."""

    title: str
    curves: tuple[Curve, ...]


def panels(rows: Sequence[Row], axes: Sequence[str], lines: str | None, x: Callable[[list[Row]], float]) -> list[Panel]:
    """Lay out curves: a line for each value of the axis `lines`, a panel for each point on the other axes.

    Args:
        rows: of rounds, or of cells.
        axes: what varies, without what `x` stands for.
        lines: the axis told apart by colour; `None` where there is none.
        x: position of the rows that share one step; a step is a round, or a value of a numeric axis.
    """
    others = [axis for axis in axes if axis != lines]
    found = []
    for key, group in by_point(rows, others).items():
        inner = by_point(group, [lines] if lines else [])
        curves = tuple(_curve(_label(lines, value), part, x) for value, part in inner.items())
        found.append(Panel(_title(others, key), curves))
    return found


def _title(axes: Sequence[str], key: PointKey) -> str:
    return ", ".join(f"{short_key(axis)} = {word(value)}" for axis, value in zip(axes, key, strict=True))


def _label(axis: str | None, value: PointKey) -> str:
    return "all" if axis is None else word(value[0])


def _curve(label: str, rows: list[Row], x: Callable[[list[Row]], float]) -> Curve:
    figure = headline(rows)
    steps = [
        (x(group), found)
        for group in by_point(rows, ["step"]).values()
        if (found := spread([row.get(figure) for row in group])) is not None
    ]
    steps.sort(key=lambda step: step[0])
    return Curve(
        f"{label} (clients' mean)" if figure == CLIENTS else label,
        tuple(position for position, _ in steps),
        tuple(100 * found.mean for _, found in steps),
        tuple(_deviation(found) for _, found in steps),
    )


def _deviation(found: Spread) -> float:
    return 100 * (found.deviation or 0.0)


def with_steps(rows: Sequence[Row], name: str) -> list[Row]:
    """Return the rows with what separates the steps of a curve under the name `step`."""
    return [row | {"step": row[name]} for row in rows]


def with_bytes_so_far(rows: Sequence[Row]) -> list[Row]:
    """Return rows of rounds with the bytes, up and down, that each cell has spent by then, as `spent`."""
    spent: dict[str, int] = {}
    summed = []
    for row in rows:
        spent[row["cell"]] = spent.get(row["cell"], 0) + (row.get("bytes_up") or 0) + (row.get("bytes_down") or 0)
        summed.append(row | {"spent": spent[row["cell"]]})
    return summed


def mean_of(name: str) -> Callable[[list[Row]], float]:
    """Return a position: the mean of a column over the rows of a step."""
    return lambda rows: float(np.mean([row[name] for row in rows]))


def is_numeric(values: Sequence[Scalar]) -> bool:
    """Whether there are at least two different values, and all are numbers."""
    return len(set(values)) > 1 and all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
