"""The few HTML elements that the report is made of. Each takes plain text and escapes it; SVG comes in as it is."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fedkd.reporting.svg import GRID, INK, MUTED, PAPER, printable, replace_in_tags
from fedkd.reporting.template import FIGURE, SECTION, TABLE, TILE

_THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}


def text(value: object) -> str:
    """Return any value as escaped HTML text, safe between tags and in quoted attributes."""
    return escape(printable(str(value)))


def section(key: str, heading: str, *body: str) -> str:
    """Return a section with its heading; `body` is HTML."""
    return SECTION.substitute(key=key, heading=text(heading), body="\n".join(body))


def paragraph(sentence: str, css: str = "note") -> str:
    """Return a paragraph of plain text."""
    return f'<p class="{css}">{text(sentence)}</p>'


def figure(svg: str, title: str, caption: str) -> str:
    """Return a plot whose text, lines and background follow the page's light or dark colours."""
    return FIGURE.substitute(svg=replace_in_tags(svg, _theme), title=text(title), caption=text(caption))


def tile(label: str, value: str, aside: str = "") -> str:
    """Return one headline number."""
    return TILE.substitute(label=text(label), value=text(value), aside=text(aside))


def table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], kinds: str, lead: int | None = None) -> str:
    """Return a table of plain text whose first column heads its rows.

    Args:
        caption: what the table shows.
        head: one heading a column.
        rows: one text a column.
        kinds: one letter a column: `n` for numbers (right-aligned, never broken), `t` for text.
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


def _row(row: Sequence[str], css: Sequence[str], is_lead: bool) -> str:
    cells = [f'<td class="{name}">{text(cell)}</td>' for name, cell in zip(css[1:], row[1:], strict=True)]
    lead = ' class="lead"' if is_lead else ""
    return f'<tr{lead}><th scope="row" class="{css[0]}">{text(row[0])}</th>{"".join(cells)}</tr>'


def _theme(tag: str) -> str:
    for colour, variable in _THEME.items():
        tag = tag.replace(colour, variable)
    return tag
