"""The plots of a study, as SVG text: accuracy against rounds, bytes and numeric keys, and heat maps over two keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from fedkd.reporting.formatting import size_unit
from fedkd.reporting.lines import Line, draw
from fedkd.reporting.plot import Stroke, stroke
from fedkd.reporting.svg import INK, UNITS_PER_INCH, render
from fedkd.study.curves import MOST_PANELS, Curve, Panel, is_numeric, mean_of, panels, with_bytes_so_far, with_steps
from fedkd.study.points import Scalar, short_key, word
from fedkd.study.rows import Row
from fedkd.study.statistics import by_point, headline, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_NUMBERED = 150
_MOST_TICKS = 8
_LOG_FROM = 8.0
"""A positive axis whose largest value is so many times the smallest is drawn on a logarithmic scale."""


def study_plots(results: Sequence[Row], rounds: Sequence[Row], axes: Sequence[str]) -> dict[str, str]:
    """Return all plots of a study by file name, in the order in which they are read."""
    if not rounds:
        return {}
    lines = _lines(rounds, axes)
    spent = with_steps(with_bytes_so_far(rounds), "round")
    plots = {
        "rounds": _curves_plot("rounds", "round", panels(with_steps(rounds, "round"), axes, lines, mean_of("round"))),
        "bytes": _bytes_plot(spent, axes, lines),
    }
    done = [row for row in results if row["state"] == "done"]
    values = {axis: [row[axis] for row in done] for axis in axes}
    for axis in axes:
        if is_numeric(values[axis]):
            plots[f"axis-{_slug(axis)}"] = _axis_plot(done, axes, axis)
    for first, second in combinations(axes, 2):
        if len(set(values[first])) > 1 and len(set(values[second])) > 1:
            plots[f"map-{_slug(first)}-{_slug(second)}"] = _heat_map(done, axes, first, second)
    return plots


def _lines(rows: Sequence[Row], axes: Sequence[str]) -> str | None:
    """The axis that colours tell apart: the first that is no number, or else the first."""
    words = [axis for axis in axes if not is_numeric([row[axis] for row in rows])]
    return next(iter([*words, *axes]), None)


def _slug(axis: str) -> str:
    return "".join(char if char.isalnum() else "-" for char in axis)


def _bytes_plot(rows: Sequence[Row], axes: Sequence[str], lines: str | None) -> str:
    unit, name = size_unit(max(row["spent"] for row in rows))
    scaled = [row | {"spent": row["spent"] / unit} for row in rows]
    return _curves_plot("bytes", f"payload so far ({name})", panels(scaled, axes, lines, mean_of("spent")))


def _axis_plot(rows: Sequence[Row], axes: Sequence[str], axis: str) -> str:
    others = [each for each in axes if each != axis]
    laid_out = panels(with_steps(rows, axis), others, _lines(rows, others), mean_of(axis))
    return _curves_plot(f"axis-{_slug(axis)}", short_key(axis), laid_out, sorted({row[axis] for row in rows}))


def _curves_plot(key: str, x_label: str, laid_out: Sequence[Panel], ticks: Sequence[float] = ()) -> str:
    shown = laid_out[:MOST_PANELS]
    columns = min(3, len(shown))
    height = -(-len(shown) // columns)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(height, columns, sharex=True, sharey=True, squeeze=False)
        strokes = _strokes(shown)
        for place, (axes, panel) in enumerate(zip(grid.flat, shown, strict=False)):
            for index, curve in enumerate(curve for curve in panel.curves if curve.mean):
                _draw(axes, f"{place}-{index}", curve, strokes[curve.label])
            axes.set_title(panel.title, fontsize=9)
            if ticks:
                _mark(axes, ticks)
        for axes in list(grid.flat)[len(shown) :]:
            axes.set_visible(False)
        for index in range(len(shown)):
            if index + columns >= len(shown):
                grid.flat[index].set_xlabel(x_label)
                grid.flat[index].tick_params(labelbottom=True)
            if index % columns == 0:
                grid.flat[index].set_ylabel("accuracy (%)")
        lines = [line for axes in grid.flat for line in axes.get_lines()]
        handles = {str(line.get_label()): line for line in lines}
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)

    size = (max(5.6, 3.0 * columns), 1.1 + 2.7 * height)
    return _render(f"study-{key}", f"Accuracy against {x_label}", _spoken(x_label, shown), size, paint)


def _render(key: str, title: str, spoken: str, inches: tuple[float, float], paint: Callable[[Figure], None]) -> str:
    width, height = (side * UNITS_PER_INCH for side in inches)
    return render(key, title, spoken, (height, 0.0), paint, width)


def _strokes(shown: Sequence[Panel]) -> dict[str, Stroke]:
    labels = dict.fromkeys(curve.label for panel in shown for curve in panel.curves)
    return {label: stroke(index) for index, label in enumerate(labels)}


def _draw(axes: Axes, key: str, curve: Curve, look: Stroke) -> None:
    draw(axes, Line(key, curve.label, curve.x, curve.mean, look))
    mean, deviation = np.array(curve.mean), np.array(curve.deviation)
    if deviation.any():
        axes.fill_between(curve.x, mean - deviation, mean + deviation, color=look.colour, alpha=0.15, linewidth=0)


def _mark(axes: Axes, ticks: Sequence[float]) -> None:
    """Show the values of a numeric key as they are, on a logarithmic scale where they span much."""
    if ticks[0] > 0 and ticks[-1] / ticks[0] >= _LOG_FROM:
        axes.set_xscale("log")
    if len(ticks) <= _MOST_TICKS:
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xticks([], minor=True)


def _spoken(x_label: str, shown: Sequence[Panel]) -> str:
    ends = [
        f"{panel.title + ': ' if panel.title else ''}{curve.label} ends at {curve.mean[-1]:.1f} %"
        for panel in shown
        for curve in panel.curves
        if curve.mean
    ]
    return f"Mean test accuracy against {x_label}, with a band of one standard deviation over seeds. {'; '.join(ends)}."


def _heat_map(rows: Sequence[Row], axes: Sequence[str], first: str, second: str) -> str:
    others = [axis for axis in axes if axis not in (first, second)]
    shown = list(by_point(rows, others).items())[:MOST_PANELS]
    down, across = (list(dict.fromkeys(row[axis] for row in rows)) for axis in (first, second))
    tables = [_means(group, first, second, down, across) for _, group in shown]
    known = np.concatenate([table[~np.isnan(table)] for table in tables])
    columns = min(3, len(shown))
    height = -(-len(shown) // columns)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(height, columns, squeeze=False)
        for axes_, (key, _), table in zip(grid.flat, shown, tables, strict=False):
            mesh = axes_.pcolormesh(table, cmap="Blues", vmin=known.min(), vmax=max(known.max(), known.min() + 1))
            _number(axes_, table, (float(known.min()) + float(known.max())) / 2)
            _name_cells(axes_, (first, down), (second, across))
            axes_.set_title(
                ", ".join(f"{short_key(a)} = {word(v)}" for a, v in zip(others, key, strict=True)), fontsize=9
            )
        for axes_ in list(grid.flat)[len(shown) :]:
            axes_.set_visible(False)
        figure.colorbar(mesh, ax=list(grid.flat), label="accuracy (%)", fraction=0.05)

    size = (max(4.8, (1.6 + 0.75 * len(across)) * columns), 1.2 + (0.8 + 0.4 * len(down)) * height)
    title = f"Accuracy over {short_key(first)} and {short_key(second)}"
    spoken = f"Mean final test accuracy in % over {first} and {second}, from {known.min():.1f} to {known.max():.1f}."
    return _render(f"study-map-{_slug(first)}-{_slug(second)}", title, spoken, size, paint)


def _means(
    rows: Sequence[Row], first: str, second: str, down: list[Scalar], across: list[Scalar]
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    table = np.full((len(down), len(across)), np.nan)
    for (row_value, column_value), group in by_point(rows, [first, second]).items():
        found = spread([row.get(headline(group)) for row in group])
        if found is not None:
            table[down.index(row_value), across.index(column_value)] = 100 * found.mean
    return table


def _number(axes: Axes, table: np.ndarray[tuple[int, int], np.dtype[np.float64]], middle: float) -> None:
    if table.size > _MOST_NUMBERED:
        return
    for (row, column), value in np.ndenumerate(table):
        if not np.isnan(value):
            colour = "#ffffff" if value > middle else INK
            axes.text(column + 0.5, row + 0.5, f"{value:.1f}", ha="center", va="center", color=colour, fontsize=8)


def _name_cells(axes: Axes, down: tuple[str, list[Scalar]], across: tuple[str, list[Scalar]]) -> None:
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xticks([index + 0.5 for index in range(len(across[1]))], [word(value) for value in across[1]])
    axes.set_yticks([index + 0.5 for index in range(len(down[1]))], [word(value) for value in down[1]])
    axes.tick_params(length=0)
    axes.set_xlabel(short_key(across[0]))
    axes.set_ylabel(short_key(down[0]))
