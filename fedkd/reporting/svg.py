"""From a matplotlib figure to one `<svg>` element that may lie next to others in one page.

Guarantees:
    - The same figure gives the same bytes: no date, no random ids.
    - Every id begins with the plot's key, so plots with different keys never clash in one document.
    - The SVG says what it shows: `role="img"`, an `aria-label` and a `<title>`.
    - matplotlib's settings are as before afterwards; a user's matplotlibrc has no part in the result.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#1c2733", "#5b6875", "#dfe4ea", "#fefefe"
"""Text, secondary lines, grid and background of every plot. No data but the baselines is drawn in them, so a page may
theme them.
"""

WIDTH = 400.0
"""Width of every plot, in SVG units: text of 12 units can be read on a phone, and in two plots side by side."""

UNITS_PER_INCH = 72.0

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 12,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": PAPER,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": 12,
    "grid.color": GRID,
    "legend.fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "lines.scale_dashes": False,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # real text: small, searchable, in the reader's fonts
    "text.color": INK,
    "text.parse_math": False,  # a class name with two dollar signs is a name, not a formula
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "xtick.labelsize": 12,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
    "ytick.labelsize": 12,
}


def render(
    key: str,
    title: str,
    description: str,
    heights: tuple[float, float],
    paint: Callable[[Figure], None],
    width: float = WIDTH,
) -> str:
    """Return what `paint` draws as one SVG element.

    Args:
        key: prefix of every id; a-z, digits and hyphens.
        title: the SVG's `<title>`.
        description: the `aria-label`: what a reader who cannot see the plot should know.
        heights: of the plot and of a strip for the legend below it, in SVG units.
        paint: draws on the empty figure it is given.
        width: in SVG units.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    buffer = io.StringIO()
    height = sum(heights)
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Text stays text: the reader's fonts draw a glyph that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": key})
        layout = ConstrainedLayoutEngine(rect=(0, heights[1] / height, 1, heights[0] / height))
        figure = Figure((width / UNITS_PER_INCH, height / UNITS_PER_INCH), UNITS_PER_INCH, layout=layout)
        paint(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _finish(buffer.getvalue(), key, title, description)


def printable(text: str) -> str:
    """Return `text` with a replacement for each character that XML does not allow."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def without_legend(svg: str, height: float) -> str:
    """Return a rendered SVG framed to its first `height` units: the strip with the legend lies below."""
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*" height="[^"]*" viewBox="0 0 (\S+) \S+"',
        rf'\1 viewBox="0 0 \2 {height:g}"',
        svg,
        count=1,
    )


def replace_in_tags(svg: str, replace: Callable[[str], str]) -> str:
    """Return `svg` with `replace` applied to each tag; the text between tags stays as it is."""
    return re.sub(r"<[^>]*>", lambda tag: replace(tag[0]), svg)


def _finish(document: str, key: str, title: str, description: str) -> str:
    element = document[document.index("<svg") :]
    element = re.sub(r"\s*<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = replace_in_tags(element, lambda tag: _prefix_ids(tag, key))
    element = element.replace("*{", f"#{key} *{{", 1)  # matplotlib's one style rule, kept to this element
    label = escape(printable(description))
    element = element.replace("<svg", f'<svg id="{key}" role="img" aria-label="{label}"', 1)
    end_of_tag = element.index(">") + 1
    return f"{element[:end_of_tag]}\n <title>{escape(printable(title))}</title>{element[end_of_tag:]}"


def _prefix_ids(tag: str, key: str) -> str:
    tag = re.sub(r'(\bid=")', rf"\1{key}-", tag)
    return re.sub(r'(href="#|url\(#)', rf"\1{key}-", tag)
