"""The page of a study: one HTML file that needs no other and asks for none."""

from __future__ import annotations

from collections.abc import Mapping

from fedkd.reporting.elements import code, drawing, page, paragraph, section, table
from fedkd.study.summary import TextTable

_CAPTIONS = {
    "rounds": "Mean over seeds after each round; the band is one standard deviation.",
    "bytes": "Mean over seeds against the payload sent so far, up and down.",
    "axis": "Mean over seeds after the last round; the band is one standard deviation.",
    "map": "Mean over seeds after the last round.",
}


def render_page(
    name: str,
    subtitle: str,
    tables: Mapping[str, tuple[TextTable, str]],
    plots: Mapping[str, str],
    study_file: str,
) -> str:
    """Return the page as a whole HTML document; every text is escaped.

    Args:
        name: of the study.
        subtitle: how much of it is done.
        tables: by heading, each with a note.
        plots: SVG by file name; see `fedkd.study.plots`.
        study_file: the study file's text.
    """
    sections = [
        section(f"table-{index}", heading, paragraph(note), table(heading, content.head, content.rows, content.kinds))
        for index, (heading, (content, note)) in enumerate(tables.items())
        if content.rows
    ]
    drawn = [drawing(svg, _CAPTIONS[key.partition("-")[0]]) for key, svg in plots.items()]
    sections.insert(1, section("plots", "Plots", *drawn) if drawn else "")
    sections.append(section("study", "The study file", code(study_file)))
    return page("fedkd study", name, subtitle, sections)
