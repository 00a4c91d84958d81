"""The page of a study: one HTML file that needs no other, asks for none and runs no script."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

from fedkd.reporting.elements import code, figure, paragraph, section, table, text
from fedkd.reporting.template import STYLE
from fedkd.study.summary import TextTable

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<link rel="icon" href="data:,">
<title>$title</title>
<style>$style</style>
</head>
<body>
<header><p class="kicker">fedkd study</p><h1>$name</h1><p class="note">$subtitle</p></header>
<main>
$sections
</main>
</body>
</html>
""")

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
    drawn = [figure(svg, key, _CAPTIONS[key.partition("-")[0]]) for key, svg in plots.items()]
    sections.insert(1, section("plots", "Plots", *drawn) if drawn else "")
    sections.append(section("study", "The study file", code(study_file)))
    return _PAGE.substitute(
        title=text(f"{name} – fedkd"),
        style=STYLE,
        name=text(name),
        subtitle=text(subtitle),
        sections="\n".join(part for part in sections if part),
    )
