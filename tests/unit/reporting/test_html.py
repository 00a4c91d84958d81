from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from fedkd.records import PartitionRecord, Refusal, RoundRecord, RunRecord
from fedkd.reporting import render_report

VOID = {"meta", "link", "br", "hr", "img", "input"}
HOSTILE = '<script>alert("x")</script><img src=https://evil.example/x onerror=y>$name ${style} \' & </pre></style>'

MakeRun = Callable[..., RunRecord]
MakePartition = Callable[..., PartitionRecord]


class Page(HTMLParser):
    """Tags with their attributes, the text between them, and whether every tag was closed in order."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(document)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def document(
    make_run: MakeRun, make_partition: MakePartition, config: dict[str, object], environment: dict[str, object]
) -> str:
    return render_report(make_run(), config, environment, make_partition())


def test_the_page_is_whole_and_every_tag_is_closed(document: str) -> None:
    page = Page(document)
    assert page.open == []
    assert document.startswith("<!DOCTYPE html>")
    assert page.named("html") == [{"lang": "en"}]


def test_nothing_on_the_page_asks_for_anything_outside(document: str) -> None:
    page = Page(document)
    loading = ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background", "formaction")
    for _, attributes in page.tags:
        for name in loading:
            target = attributes.get(name)
            assert target is None or target.startswith(("#", "data:"))
    assert not {"script", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*[\"']?([^)]*)\)", document))
    assert "@import" not in document


def test_the_browser_is_told_to_load_nothing(document: str) -> None:
    policies = [meta for meta in Page(document).named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert [policy["content"] for policy in policies] == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    ]


def test_ids_are_unique_and_sections_have_headings(document: str) -> None:
    page = Page(document)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in page.named("section"):
        assert attributes["aria-labelledby"] in ids
    assert len(page.named("h1")) == 1
    assert len(page.named("h2")) == len(page.named("section")) == 8


def test_four_plots_each_with_a_text_for_those_who_cannot_see_it(document: str) -> None:
    plots = Page(document).named("svg")
    assert len(plots) == 4
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)


def test_plots_follow_the_page_from_light_to_dark(document: str) -> None:
    plots = "".join(re.findall(r"<svg.*?</svg>", document, flags=re.DOTALL))
    assert "var(--ink)" in plots
    assert "#1c2733" not in plots
    assert "prefers-color-scheme: dark" in document


def test_the_numbers_are_there(document: str) -> None:
    text = Page(document).text
    for expected in (
        "fkd-digits-s0-20260131-142530-1a2b3c",
        "student 80.2 % +15.1 points",
        "local-only (lower bound) 65.1 %",
        "centralised (upper bound) 95.3 %",
        "mean total variation 0.521",
        "bytes up 16.0 MB",
        "local training 1 min 26 s",
        "Over all rounds: 1 refused, 1 dropped, 2 late",
        "2 1 not_finite logits hold NaN",
        "fedkd simulate runs/fkd-digits-s0-20260131-142530-1a2b3c/config.toml",
        "dirichlet_alpha = 0.3",
        "versions torch 2.14.1",
        "5f2a" * 16,
    ):
        assert expected in text


def test_there_is_a_row_for_every_round(document: str, make_run: MakeRun) -> None:
    table = document[document.index("One row a round</caption>") :]
    rows = re.findall(r'<th scope="row" class="number">(\d+)</th>', table[: table.index("</table>")])
    assert rows == [str(record.server_round) for record in make_run().history]


def test_hostile_text_is_shown_and_never_obeyed(make_round: Callable[..., RoundRecord], make_run: MakeRun) -> None:
    refusal = Refusal(client=None, reason=HOSTILE, detail=HOSTILE)
    run = make_run(1, run_dir=HOSTILE, method=HOSTILE, history=(make_round(1, refused=(refusal,)),))
    partition = PartitionRecord(class_names=(HOSTILE,), counts=((3,),), skew={HOSTILE: 1.0}, description=HOSTILE)
    document = render_report(run, {HOSTILE: HOSTILE}, {HOSTILE: {"a": HOSTILE}, "list": [HOSTILE]}, partition)
    page = Page(document)
    assert page.open == []
    assert not page.named("script")
    assert not page.named("img")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count('<script>alert("x")</script>') >= 6
    assert "$name ${style}" in page.text


def test_a_control_character_does_not_reach_the_page(make_run: MakeRun) -> None:
    assert "\x00" not in render_report(make_run(1, method="a\x00b"), {}, {}, None)


def test_a_command_for_an_odd_folder_is_quoted(make_run: MakeRun) -> None:
    text = Page(render_report(make_run(1, run_dir="my runs/a; rm"), {}, {}, None)).text
    assert "fedkd simulate 'my runs/a; rm/config.toml'" in text


def test_a_run_with_nothing_measured_is_reported_with_dashes(make_run: MakeRun) -> None:
    run = make_run(0, student={}, ensemble_teacher={}, clients={}, bounds={})
    page = Page(render_report(run, {}, {}, None))
    assert "student – –" in page.text
    assert "Every reply arrived in time and was used." in page.text
    assert len(page.named("svg")) == 3


def test_many_refusals_are_cut_and_the_cut_is_named(make_round: Callable[..., RoundRecord], make_run: MakeRun) -> None:
    refused = tuple(Refusal(client=index, reason="shape", detail="d") for index in range(203))
    page = Page(render_report(make_run(1, history=(make_round(1, refused=refused),)), {}, {}, None))
    assert "3 more refusals are in rounds.jsonl" in page.text


def test_the_same_records_give_the_same_page(
    document: str,
    make_run: MakeRun,
    make_partition: MakePartition,
    config: dict[str, object],
    environment: dict[str, object],
) -> None:
    assert render_report(make_run(), config, environment, make_partition()) == document
