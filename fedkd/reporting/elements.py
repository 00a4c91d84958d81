"""The few HTML elements that the report is made of. Each takes plain text and escapes it; SVG comes in as it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

from fedkd.reporting.plot import Marker, Plot, Series
from fedkd.reporting.script import POLICY, SCRIPT
from fedkd.reporting.style import STYLE
from fedkd.reporting.svg import GRID, INK, MUTED, PAPER, printable, replace_in_tags
from fedkd.reporting.template import FIGURE, PAGE, SECTION, TABLE, TILE

_THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}
_MARKS: dict[Marker, str] = {
    "": "",
    "o": "M14 6a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "s": "M14 3h6v6h-6z",
    "^": "M17 2.5l3.5 6.5h-7z",
    "v": "M17 9.5l-3.5-6.5h7z",
    "D": "M17 2l4 4-4 4-4-4z",
    "P": "M15.5 2h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z",
    "X": "M13.5 4.5l2-2 1.5 1.5 1.5-1.5 2 2-1.5 1.5 1.5 1.5-2 2-1.5-1.5-1.5 1.5-2-2 1.5-1.5z",
    "*": "M17 1l1.3 3.2 3.4.3-2.6 2.2.8 3.4-2.9-1.8-2.9 1.8.8-3.4-2.6-2.2 3.4-.3z",
}
"""The marks of a plot as they stand in a legend, drawn on 34 by 12 units."""


def page(kicker: str, name: str, subtitle: str, body: Sequence[str]) -> str:
    """Return a whole document; `body` is HTML, all else plain text. Empty parts of the body are left out."""
    return PAGE.substitute(
        policy=POLICY,
        title=text(f"{name} – fedkd"),
        style=STYLE,
        script=SCRIPT,
        kicker=text(kicker),
        name=text(name),
        subtitle=text(subtitle),
        body="\n".join(part for part in body if part),
    )


def text(value: object) -> str:
    """Return any value as escaped HTML text, safe between tags and in quoted attributes."""
    return escape(printable(str(value)))


def section(key: str, heading: str, *body: str) -> str:
    """Return a section with its heading; `body` is HTML."""
    return SECTION.substitute(key=key, heading=text(heading), body="\n".join(body))


def paragraph(sentence: str, css: str = "note") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{css}">{text(sentence)}</p>'


def figure(plot: Plot, caption: str) -> str:
    """Return a plot with its legend, caption and values; its text, lines and background follow the page's colours."""
    kinds = "n" * len(plot.table.head)
    return FIGURE.substitute(
        key=text(plot.key),
        title=text(plot.title),
        svg=replace_in_tags(plot.inline, _theme),
        legend=_legend(plot.series),
        caption=text(caption),
        table=table(plot.title, plot.table.head, plot.table.rows, kinds),
        points=_points(plot),
    )


def drawing(svg: str, caption: str) -> str:
    """Return a whole drawing, its legend included, with a caption; it follows the page's colours and is no more."""
    themed = replace_in_tags(svg, _theme)
    return f'<figure><div class="plot">{themed}</div><figcaption>{text(caption)}</figcaption></figure>'


def columns(figures: Sequence[str]) -> str:
    """Return figures side by side where the page is wide enough."""
    return f'<div class="columns">{"".join(figures)}</div>' if figures else ""


def tile(label: str, value: str, aside: str = "") -> str:
    """Return one headline number."""
    return TILE.substitute(label=text(label), value=text(value), aside=text(aside))


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], kinds: str, lead: int | None = None) -> str:
    """Return a table of plain text whose first column heads its rows.

    Args:
        caption: what the table shows.
        head: one heading a column.
        rows: one text a column.
        kinds: one character per column: `n` for numbers (right-aligned, never broken), `t` for text.
        lead: index of the row to stress.
    """
    css = ["number" if kind == "n" else "text" for kind in kinds]
    heads = "".join(f'<th scope="col" class="{name}">{text(cell)}</th>' for name, cell in zip(css, head, strict=True))
    body = "\n".join(_row(row, css, index == lead) for index, row in enumerate(rows))
    css_class = "wide" if len(head) > 3 else "narrow"
    return TABLE.substitute(caption=text(caption), head=heads, rows=body, css=css_class)


def facts(rows: Sequence[tuple[str, str]]) -> str:
    """Return names and values side by side, as a description list."""
    pairs = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in rows)
    return f'<dl class="facts">{pairs}</dl>'


def code(content: str) -> str:
    """Return a block of preformatted text."""
    return f'<pre tabindex="0"><code>{text(content)}</code></pre>'


def folded(summary: str, *body: str) -> str:
    """Return HTML that is unfolded by a click on its summary."""
    return f"<details><summary>{text(summary)}</summary>{''.join(body)}</details>"


def _row(row: Sequence[str], css: Sequence[str], is_lead: bool) -> str:
    cells = [f'<td class="{name}">{text(cell)}</td>' for name, cell in zip(css[1:], row[1:], strict=True)]
    lead = ' class="lead"' if is_lead else ""
    return f'<tr{lead}><th scope="row" class="{css[0]}">{text(row[0])}</th>{"".join(cells)}</tr>'


def _legend(series: Sequence[Series]) -> str:
    """A button for each named series; pressing it shows or hides the series wherever it is drawn."""
    items = "".join(_legend_item(each) for each in series if each.label)
    return f'<ul class="legend">{items}</ul>' if items else ""


def _legend_item(series: Series) -> str:
    look = series.stroke
    colour = _THEME.get(look.colour, look.colour)
    dashes = f' stroke-dasharray="{" ".join(map(str, look.dashes))}"' if look.dashes else ""
    line = f'<path d="M0 6H34" stroke="{colour}" stroke-width="{look.width}"{dashes}/>' if look.width else ""
    mark = f'<path d="{_MARKS[look.marker]}" fill="{colour}"/>' if look.marker else ""
    swatch = f'<svg viewBox="0 0 34 12" aria-hidden="true">{line}{mark}</svg>'
    attributes = f'type="button" aria-pressed="true" data-series="{series.key}"'
    return f"<li><button {attributes}>{swatch}{text(series.label)}</button></li>"


def _points(plot: Plot) -> str:
    """What the script reads. No text in it can end the element that holds it."""
    series = [{"key": each.key, "label": each.label, "points": each.points} for each in plot.series]
    content = {"kind": plot.kind, "box": [round(edge, 1) for edge in plot.box], "series": series}
    return printable(json.dumps(content, separators=(",", ":"))).replace("<", "\\u003c")


def _theme(tag: str) -> str:
    for colour, variable in _THEME.items():
        tag = tag.replace(colour, variable)
    return tag
