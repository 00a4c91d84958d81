"""Counts as heat maps: who holds how much of each class, and which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedkd.errors import RunFolderError
from fedkd.records import Confusion, Matrix, PartitionRecord
from fedkd.reporting.lines import box
from fedkd.reporting.plot import Plot, Point, Series, Stroke
from fedkd.reporting.svg import INK, PAPER, printable, render
from fedkd.reporting.text_table import TextTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

    from fedkd.types import IntArray

_FEW, _MANY = "#2f6fd618", "#2f6fd6c6"
"""One blue, from faint to strong, and never so full that ink on it falls below contrast 4.5, on light paper or dark."""
_MOST_NUMBERED_ROWS, _MOST_NUMBERED_COLUMNS = 30, 14
_MOST_VECTOR_CELLS = 3000
_MOST_TABLE_CELLS = 5000
_LONGEST_NAME = 16


@dataclass(frozen=True)
class Side:
    """One side of a heat map: what its rows or columns are, and the name of each."""

    label: str
    names: Sequence[str]


def partition_plot(partition: PartitionRecord) -> Plot:
    """Draw how many samples of each class each client holds. A class that a client lacks stays blank."""
    counts_KC = np.array(partition.counts, dtype=np.int64).reshape(len(partition.counts), len(partition.class_names))
    num_clients, num_classes = counts_KC.shape
    spoken = (
        f"Samples per class on each of {num_clients} clients, {num_classes} classes, {counts_KC.sum()} samples. "
        f"{partition.description}"
    )
    rows = Side("client", [str(client) for client in range(num_clients)])
    title = "Partition of the private samples"
    return heat_map("plot-partition", title, spoken, counts_KC, rows, Side("class", partition.class_names))


def confusion_plots(confusion: Confusion, class_names: Sequence[str] | None) -> dict[str, Plot]:
    """Draw each matrix that was recorded, by name; classes are numbers where their names are not known.

    Raises:
        RunFolderError: the matrices have other classes than those that are named.
    """
    truth, student, teacher = "true class", "student's choice", "teacher's choice"
    kinds: list[tuple[str, Matrix | None, str, str, str]] = [
        ("confusion-student", confusion.student, "Student: true class and choice", truth, student),
        ("confusion-teacher", confusion.ensemble_teacher, "Ensemble teacher: true class and choice", truth, teacher),
        ("confusion-both", confusion.student_teacher, "Teacher's choice and student's", teacher, student),
    ]
    plots = {}
    for name, matrix, title, row, column in kinds:
        if matrix is not None:
            counts_CC = np.array(matrix, dtype=np.int64)
            names = class_names or [str(index) for index in range(len(counts_CC))]
            if len(names) != len(counts_CC):
                problem = f"{name} has {len(counts_CC)} classes; the partition names {len(names)}"
                raise RunFolderError(problem)
            spoken = f"{title}: {np.trace(counts_CC)} of {counts_CC.sum()} test samples lie on the diagonal."
            plots[name] = heat_map(f"plot-{name}", title, spoken, counts_CC, Side(row, names), Side(column, names))
    return plots


def heat_map(key: str, title: str, spoken: str, counts_RC: IntArray, rows: Side, columns: Side) -> Plot:
    """Draw counts [rows, columns]; zero stays blank.

    Small maps carry their numbers; maps of more than 3000 cells are drawn as an image inside the SVG, so that the file
    stays small.
    """
    num_rows, num_columns = counts_RC.shape
    rows, columns = (Side(side.label, [_short(name) for name in side.names]) for side in (rows, columns))
    drawn: list[Axes] = []

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        drawn.append(axes)
        _draw_cells(figure, axes, counts_RC)
        if num_rows <= _MOST_NUMBERED_ROWS and num_columns <= _MOST_NUMBERED_COLUMNS:
            _write_numbers(axes, counts_RC)
        _label(axes, rows, columns)

    height = min(max(20.0 * num_rows, 90.0), 480.0) + 70.0
    svg = render(key, title, spoken, (height, 0.0), paint)
    series = Series("samples", "", Stroke(INK), _points(drawn[0], height, counts_RC, rows, columns))
    return Plot(key, title, svg, height, box(drawn[0], height), (series,), _table(counts_RC, rows, columns), "cell")


def _colours() -> Colormap:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("few to many", [_FEW, _MANY])


def _draw_cells(figure: Figure, axes: Axes, counts_RC: IntArray) -> None:
    many = counts_RC.size > _MOST_VECTOR_CELLS
    mesh = axes.pcolormesh(
        np.ma.masked_equal(counts_RC, 0),
        cmap=_colours(),
        vmin=0,
        vmax=max(int(counts_RC.max(initial=0)), 1),
        edgecolors="none" if many else PAPER,
        linewidth=0 if many else 1.0,
        rasterized=many,
    )
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(mesh, ax=axes, pad=0.015, fraction=0.04, aspect=24, label="samples (blank: none)")
    bar.outline.set_visible(False)


def _write_numbers(axes: Axes, counts_RC: IntArray) -> None:
    for (row, column), count in np.ndenumerate(counts_RC):
        if count:
            place = (column + 0.5, row + 0.5)
            axes.text(*place, str(count), ha="center", va="center", color=INK, fontsize=10.5, in_layout=False)


def _label(axes: Axes, rows: Side, columns: Side) -> None:
    row_step, column_step = -(-len(rows.names) // 30), -(-len(columns.names) // 40)
    row_range, column_range = range(0, len(rows.names), row_step or 1), range(0, len(columns.names), column_step or 1)
    slanted = len(columns.names) > 14 or max(map(len, columns.names), default=0) > 3
    slant: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if slanted else {}
    axes.set_xticks([index + 0.5 for index in column_range], [columns.names[index] for index in column_range], **slant)
    axes.set_yticks([index + 0.5 for index in row_range], [rows.names[index] for index in row_range])
    axes.tick_params(length=0)
    axes.set_xlabel(columns.label)
    axes.set_ylabel(rows.label)


def _points(axes: Axes, height: float, counts_RC: IntArray, rows: Side, columns: Side) -> tuple[Point, ...]:
    """The middle of each cell; of none where the map is too large to point at one."""
    if counts_RC.size > _MOST_VECTOR_CELLS:
        return ()
    points = []
    for (row, column), count in np.ndenumerate(counts_RC):
        x, y = axes.transData.transform((column + 0.5, row + 0.5))
        where = f"{rows.label} {rows.names[row]}, {columns.label} {columns.names[column]}"
        points.append(Point(round(float(x), 1), round(height - float(y), 1), where, f"{count} samples"))
    return tuple(points)


def _table(counts_RC: IntArray, rows: Side, columns: Side) -> TextTable:
    """The counts, or a sum for each row where there are more than 5000."""
    if counts_RC.size > _MOST_TABLE_CELLS:
        sums = [(name, str(count)) for name, count in zip(rows.names, counts_RC.sum(axis=1), strict=True)]
        return TextTable.of_numbers((rows.label, f"all {len(columns.names)} columns"), tuple(sums))
    cells = [(name, *map(str, row)) for name, row in zip(rows.names, counts_RC.tolist(), strict=True)]
    return TextTable.of_numbers((f"{rows.label} \\ {columns.label}", *columns.names), tuple(cells))


def _short(name: str) -> str:
    name = printable(" ".join(name.split()))
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
