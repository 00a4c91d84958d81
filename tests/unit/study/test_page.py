"""A study's page holds its tables, its plots after the first of them, and its file, all as text."""

from __future__ import annotations

import re
from html import unescape

import pytest
from jinja2 import UndefinedError

from fedkd.reporting.text_table import TextTable
from fedkd.study.page import render_page

HOSTILE = '<script>alert("x")</script>{{ style }}&'
SVG = '<svg><rect fill="#1c2733"/><text>#1c2733</text></svg>'
TABLES = {
    "Results": (TextTable((HOSTILE, "accuracy"), ((HOSTILE, "1"),), "tn"), HOSTILE),
    "Paired tests": (TextTable(("where",), (), "t"), "of nothing"),
    "Failed cells": (TextTable(("cell", "error"), (("a", HOSTILE),), "tt"), "again"),
}


def page(plots: dict[str, str]) -> str:
    return render_page(HOSTILE, HOSTILE, TABLES, plots, f"name = '{HOSTILE}'")


def headings(document: str) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", document)


def test_text_of_a_study_is_shown_and_never_run() -> None:
    document = page({})
    assert document.count("<script>") == 1  # the page's own
    assert document.count("{{ style }}") == 8
    assert unescape(document).count(HOSTILE) == 8


def test_plots_follow_the_first_table_and_empty_tables_are_left_out() -> None:
    assert headings(page({"rounds": SVG})) == ["Results", "Plots", "Failed cells", "The study file"]
    assert headings(page({})) == ["Results", "Failed cells", "The study file"]


def test_a_plot_has_the_caption_of_its_kind_and_the_colours_of_the_page() -> None:
    document = page({"map-a-b": SVG})
    assert '<rect fill="var(--ink)"/><text>#1c2733</text>' in document
    assert "<figcaption>Mean over seeds after the last round.</figcaption>" in document


def test_a_plot_of_a_kind_that_has_no_caption_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="other"):
        page({"other-a": SVG})
