"""What a plot is to those who show it: its drawing, its series, the values under the pointer, and its table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fedkd.reporting.svg import MUTED, without_legend
from fedkd.reporting.text_table import TextTable

Marker = Literal["", "o", "s", "^", "v", "D", "P", "X", "*"]

MARKS: Mapping[Marker, str] = {
    "o": "M14 6a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "s": "M14 3h6v6h-6z",
    "^": "M17 2.5l3.5 6.5h-7z",
    "v": "M17 9.5l-3.5-6.5h7z",
    "D": "M17 2l4 4-4 4-4-4z",
    "P": "M15.5 2h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z",
    "X": "M13.5 4.5l2-2 1.5 1.5 1.5-1.5 2 2-1.5 1.5 1.5 1.5-2 2-1.5-1.5-1.5 1.5-2-2 1.5-1.5z",
    "*": "M17 1l1.3 3.2 3.4.3-2.6 2.2.8 3.4-2.9-1.8-2.9 1.8.8-3.4-2.6-2.2 3.4-.3z",
}
"""The marks as SVG paths for the legend of a page, drawn on 34 by 12 units."""


@dataclass(frozen=True)
class Stroke:
    """How a series is drawn: never told from another by its colour alone.

    Args:
        colour: a hexadecimal colour, of contrast 3 or more on light and on dark paper.
        dashes: lengths of dash and gap in SVG units; empty for a solid line.
        marker: matplotlib's code of the mark at a point, or an empty string.
        width: of the line, in SVG units; 0 for marks without a line.
    """

    colour: str
    dashes: tuple[float, ...] = ()
    marker: Marker = ""
    width: float = 1.8


_COLOURS = ("#2f7de1", "#d97706", "#2a9d5c", "#c8509b", "#8b6fe0", "#0e97a5", "#c2553a", "#7d8590")
_MARKERS: tuple[Marker, ...] = ("o", "s", "^", "v", "D", "P", "X", "*")
_DASHES: tuple[tuple[float, ...], ...] = ((), (7, 3), (2, 2.5), (9, 3, 2, 3))
LOCAL_ONLY, CENTRALISED = Stroke(MUTED, (1.5, 3)), Stroke(MUTED, (6, 4))
"""The baselines: local-only and centralised."""


def stroke(index: int, width: float = 1.8) -> Stroke:
    """Return the stroke of the series of this index: two differ up to 32 of them, neighbours in all three respects."""
    turn = index // len(_COLOURS)
    colour, marker = _COLOURS[index % len(_COLOURS)], _MARKERS[index % len(_MARKERS)]
    return Stroke(colour, _DASHES[(index + turn) % len(_DASHES)], marker, width)


class Point(NamedTuple):
    """A place in a drawing, in SVG units, and what is there: where on the horizontal axis, and the value."""

    x: float
    y: float
    where: str
    value: str


@dataclass(frozen=True)
class Series:
    """What a legend names. `key` (a-z, digits, hyphens) is the end of the id of its group in the SVG."""

    key: str
    label: str
    stroke: Stroke
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Plot:
    """One drawing, drawn once, for a file of its own and for a page.

    Args:
        key: prefix of every id in it.
        title: what it shows, in some words.
        svg: the whole drawing, its legend at the bottom.
        height: units from the top to where the legend begins.
        box: left, top, right and bottom of the axes, in SVG units.
        series: what a legend names; one without label where no legend is needed.
        table: the values.
        kind: whether the values under the pointer are those of its column (of all series), or of one cell.
    """

    key: str
    title: str
    svg: str
    height: float
    box: tuple[float, float, float, float]
    series: tuple[Series, ...]
    table: TextTable
    kind: Literal["column", "cell"] = "column"

    @property
    def inline(self) -> str:
        """The drawing without its legend, as wide as its place allows: a page has a legend of its own."""
        return without_legend(self.svg, self.height)
