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
"""Text, secondary lines, grid and background of every plot. No data is drawn in them, so a page may theme them."""

_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": PAPER,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 9.5,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": PAPER,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Helvetica", "Arial"],
    "font.size": 9.5,
    "grid.color": GRID,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "none",  # real text: small, searchable, in the reader's fonts
    "text.color": INK,
    "text.parse_math": False,  # a class name with two dollar signs is a name, not a formula
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


def render(key: str, title: str, description: str, size: tuple[float, float], paint: Callable[[Figure], None]) -> str:
    """Return what `paint` draws as one SVG element.

    Args:
        key: prefix of every id; letters, digits and hyphens.
        title: the SVG's `<title>`.
        description: the `aria-label`: what a reader who cannot see the plot should know.
        size: width and height in inches.
        paint: draws on the empty figure it is given.
    """
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Text stays text: the reader's fonts draw a glyph that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": key})
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _finish(buffer.getvalue(), key, title, description)


def printable(text: str) -> str:
    """Return `text` with a replacement for each character that XML does not allow."""
    return re.sub(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


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
