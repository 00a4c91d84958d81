"""From a template and values to a page: one HTML file that needs no other and asks for none.

Guarantees:
    - Every value is escaped, except plots and the page's own style and script.
    - No request leaves the page: style, script and plots are inline, and a content security policy forbids the browser
      what the page does not contain; only the page's own script may run.
    - A name that a template uses and nobody gave raises jinja2's `UndefinedError`.
    - No character that HTML does not allow reaches the page.
    - The same values give the same bytes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from fedkd.reporting.formatting import duration, number, percent, size
from fedkd.reporting.plot import MARKS, Plot
from fedkd.reporting.script import POLICY, SCRIPT
from fedkd.reporting.style import STYLE
from fedkd.reporting.svg import GRID, INK, MUTED, PAPER, printable, replace_in_tags
from fedkd.reporting.template import ELEMENTS, PAGE

if TYPE_CHECKING:
    from jinja2 import Environment

_THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--grid)", PAPER: "var(--paper)"}


def render_page(template: str, **values: object) -> str:
    """Return a whole HTML document.

    Args:
        template: a Jinja2 template that extends `page.html` and may import from `elements.html`; both are in
            `fedkd.reporting.template`.
        **values: what the template names.
    """
    return printable(_environment().from_string(template).render(**values))


@cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True,
        loader=DictLoader({"page.html": PAGE, "elements.html": ELEMENTS}),
        lstrip_blocks=True,
        trim_blocks=True,
        undefined=StrictUndefined,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    script, style = Markup(SCRIPT), Markup(STYLE)  # noqa: S704 (the page's own)
    environment.globals.update(marks=MARKS, policy=POLICY, script=script, style=style)
    environment.filters.update(
        drawing=lambda svg: Markup(replace_in_tags(svg, _themed)),  # noqa: S704 (of matplotlib, which escapes)
        duration=duration,
        number=number,
        percent=percent,
        points_under_pointer=_points_under_pointer,
        size=size,
        themed=_themed,
    )
    return environment


def _points_under_pointer(plot: Plot) -> dict[str, object]:
    """Return what the page's script reads of a plot: its kind, its axes, and the points of each series."""
    series = [{"key": each.key, "label": each.label, "points": each.points} for each in plot.series]
    return {"kind": plot.kind, "box": [round(edge, 1) for edge in plot.box], "series": series}


def _themed(svg: str) -> str:
    """Replace the colours that follow the page, in a tag or a colour's own text."""
    for colour, variable in _THEME.items():
        svg = svg.replace(colour, variable)
    return svg
