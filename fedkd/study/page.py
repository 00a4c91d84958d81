"""The page of a study; see `fedkd.reporting.page` for what holds of every page."""

from __future__ import annotations

from collections.abc import Mapping

from fedkd.reporting.page import render_page as render_template
from fedkd.reporting.text_table import TextTable

_TEMPLATE = """{% extends "page.html" %}
{% from "elements.html" import code, section, table %}

{% block kicker %}fedkd study{% endblock %}
{% block title %}{{ name }}{% endblock %}
{% block subtitle %}{{ subtitle }}{% endblock %}

{% set captions = {
  "rounds": "Mean over seeds after each round; the band is one standard deviation.",
  "bytes": "Mean over seeds against the payload sent so far, up and down.",
  "axis": "Mean over seeds after the last round; the band is one standard deviation.",
  "map": "Mean over seeds after the last round.",
} %}

{% block body %}
{% for heading, (content, note) in tables.items() %}
{% if content.rows %}
{% call section("table-" ~ loop.index0, heading) %}
<p class="note">{{ note }}</p>
{{ table(heading, content) }}
{% endcall %}
{% endif %}
{% if loop.first and plots %}
{% call section("plots", "Plots") %}
{% for name, svg in plots.items() %}
<figure><div class="plot">{{ svg|drawing }}</div><figcaption>{{ captions[name.split("-")[0]] }}</figcaption></figure>
{% endfor %}
{% endcall %}
{% endif %}
{% endfor %}
{% call section("study", "The study file") %}{{ code(study_file) }}{% endcall %}
{% endblock %}
"""


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
        tables: by heading, each with a note; the plots follow the first. A table without rows is left out.
        plots: SVG by file name; see `fedkd.study.plots`.
        study_file: the study file's text.
    """
    return render_template(_TEMPLATE, name=name, subtitle=subtitle, tables=tables, plots=plots, study_file=study_file)
