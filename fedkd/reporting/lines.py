"""A line plot of any number of series, drawn by matplotlib, with what a page needs to show values under a pointer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fedkd.reporting.plot import Plot, Point, Series, Stroke
from fedkd.reporting.svg import MUTED, render
from fedkd.reporting.text_table import TextTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")

_HEIGHT, _LEGEND_LINE = 260.0, 17.0
_MOST_MARKERS = 25
_MOST_ROWS = 100


@dataclass(frozen=True)
class Line:
    """One series before it is drawn; a value of `None` was not measured and is left out."""

    key: str
    label: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    stroke: Stroke

    @property
    def measured(self) -> list[tuple[float, float]]:
        """The points that have a value."""
        return [(float(x), float(y)) for x, y in zip(self.xs, self.ys, strict=True) if y is not None]


@dataclass(frozen=True)
class Axis:
    """An axis: its label, how a value on it is written, whether its ticks are whole numbers, names in place of numbers,
    and how much of a value makes one of the unit that its label names.
    """

    label: str
    write: Callable[[float], str]
    whole: bool = False
    names: tuple[str, ...] = ()
    unit: float = 1.0


def line_plot(
    key: str, title: str, spoken: str, lines: Sequence[Line], x: Axis, y: Axis, most: float | None = None
) -> Plot:
    """Draw lines against shared axes.

    Args:
        key: prefix of every id in the drawing.
        title: what the plot shows, in some words.
        spoken: the same in full sentences, for a reader who cannot see it.
        lines: what to draw; those without a measured value are left out.
        x: the horizontal axis.
        y: the vertical axis; it begins at or above 0.
        most: the largest possible value, where there is one.
    """
    lines = [line for line in lines if line.measured]
    columns = 1 if any(len(line.label) > 22 for line in lines) else 2
    strip = _LEGEND_LINE * -(-len(lines) // columns) + 6 if lines else 0.0
    drawn: list[Axes] = []

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        drawn.append(axes)
        for line in lines:
            draw(axes, line, x.unit)
        _label(axes, x, y, lines, most)
        if lines:
            legend = figure.legend(loc="lower center", ncols=columns, borderaxespad=0, handlelength=3.2)
            legend.set_gid("legend")

    svg = render(key, title, spoken, (_HEIGHT, strip), paint)
    (axes,) = drawn
    height = _HEIGHT + strip
    series = tuple(Series(line.key, line.label, line.stroke, _points(axes, height, line, x, y)) for line in lines)
    return Plot(key, title, svg, _HEIGHT, box(axes, height), series, _table(lines, x, y))


def box(axes: Axes, height: float) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of drawn axes, in SVG units of a drawing of this height."""
    left, bottom, right, top = (float(edge) for edge in axes.bbox.extents)
    return left, height - top, right, height - bottom


def draw(axes: Axes, line: Line, unit: float = 1.0) -> None:
    """Draw one line in its stroke; `unit` of its horizontal values make one of the axis."""
    xs, ys = zip(*((x / unit, y) for x, y in line.measured), strict=True)
    look = line.stroke
    (artist,) = axes.plot(
        xs,
        ys,
        color=look.colour,
        linewidth=look.width or 1.8,
        linestyle="-" if look.width else "none",
        marker=look.marker or None,
        markevery=-(-len(xs) // _MOST_MARKERS),
        label=line.label,
    )
    if look.dashes and look.width:
        artist.set_dashes(look.dashes)
    artist.set_gid(f"series-{line.key}")


def _label(axes: Axes, x: Axis, y: Axis, lines: Sequence[Line], most: float | None) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel(x.label)
    axes.set_ylabel(y.label)
    if x.names:
        axes.set_xticks(range(len(x.names)), x.names, rotation=20, ha="right", rotation_mode="anchor")
        axes.set_xlim(-0.5, len(x.names) - 0.5)
    elif x.whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    else:
        axes.set_xlim(left=0)
    if not lines:
        axes.text(0.5, 0.5, "nothing was measured", transform=axes.transAxes, ha="center", color=MUTED)
        return
    low, high = axes.get_ylim()
    margin = 0.02 * (high if most is None else most)
    axes.set_ylim(max(low, -margin), high if most is None else min(high, most + margin))


def _points(axes: Axes, height: float, line: Line, x: Axis, y: Axis) -> tuple[Point, ...]:
    places = axes.transData.transform([(at / x.unit, value) for at, value in line.measured])
    return tuple(
        Point(round(float(px), 1), round(height - float(py), 1), _where(x, at), y.write(value))
        for (px, py), (at, value) in zip(places, line.measured, strict=True)
    )


def _where(x: Axis, at: float) -> str:
    return x.names[int(at)] if x.names else f"{x.label.partition(' (')[0]} {x.write(at)}"


def _table(lines: Sequence[Line], x: Axis, y: Axis) -> TextTable:
    """A column for each line where all lines have the same places; else a row for each point."""
    places = sorted({at for line in lines for at, _ in line.measured})
    at_each = [dict(line.measured) for line in lines]
    if len(lines) < 2 or sum(map(len, at_each)) * 2 > len(places) * len(lines):
        rows = [(_name(x, at), *(_cell(y, values.get(at)) for values in at_each)) for at in thinned(places)]
        return TextTable.of_numbers((x.label, *(line.label for line in lines)), tuple(rows))
    points = [(line.label, _name(x, at), y.write(value)) for line in lines for at, value in thinned(line.measured)]
    return TextTable.of_numbers(("series", x.label, y.label), tuple(points))


def _name(x: Axis, at: float) -> str:
    return x.names[int(at)] if x.names else x.write(at)


def _cell(y: Axis, value: float | None) -> str:
    return "–" if value is None else y.write(value)


def thinned(rows: Sequence[T]) -> list[T]:
    """Return at most about 100 rows, evenly spread; the last is always among them."""
    step = -(-len(rows) // _MOST_ROWS) or 1
    return list(rows[::-1][::step][::-1])
