from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser

import pytest

from fedkd.records import PartitionRecord, Refusal, RoundRecord, RunRecord, StudentScore
from fedkd.reporting import ReportedRun, render_comparison, render_report, run_plots
from fedkd.reporting.script import SCRIPT

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


def report(
    run: RunRecord,
    config: Mapping[str, object] | None = None,
    environment: Mapping[str, object] | None = None,
    partition: PartitionRecord | None = None,
    drawn: bool = False,
) -> str:
    """A page; without its plots where a test is of something else, as drawing takes its time."""
    defaults = {"method": "fkd", "seed": 0, "rounds": 5, "data": {"source": "digits"}}
    reported = ReportedRun(run, config or {}, environment or {}, partition, defaults)
    return render_report(reported, run_plots(run, partition) if drawn else {})


@pytest.fixture(scope="module")
def document(
    make_run: MakeRun, make_partition: MakePartition, config: dict[str, object], environment: dict[str, object]
) -> str:
    return report(make_run(), config, environment, make_partition(), drawn=True)


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
    assert not {"iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.tags}
    assert all(target.startswith("#") for target in re.findall(r"url\(\s*[\"']?([^)]*)\)", document))
    assert "@import" not in document


def test_the_browser_is_told_to_load_nothing_and_to_run_the_pages_own_script_only(document: str) -> None:
    (policy,) = [meta for meta in Page(document).named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert policy["content"] == (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    )
    assert f"<script>{SCRIPT}</script>" in document


def test_ids_are_unique_and_sections_have_headings(document: str) -> None:
    page = Page(document)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in page.named("section"):
        assert attributes["aria-labelledby"] in ids
    assert len(page.named("h1")) == 1
    assert len(page.named("h2")) == len(page.named("section")) == 8


def plots_of(page: Page) -> list[dict[str, str | None]]:
    return [svg for svg in page.named("svg") if svg.get("role") == "img"]


def test_every_plot_has_a_text_and_a_table_for_those_who_cannot_see_it(document: str) -> None:
    page = Page(document)
    assert len(plots_of(page)) == len(page.named("figure")) == 8
    assert all(plot["aria-label"] for plot in plots_of(page))
    for figure in re.findall(r"<figure.*?</figure>", document, flags=re.DOTALL):
        assert re.search(r"<details><summary>Values as a table</summary>.*<th scope=\"row\"", figure, flags=re.DOTALL)


def test_every_series_has_a_button_and_its_group_in_the_drawing(document: str) -> None:
    figures = re.findall(r"<figure.*?</figure>", document, flags=re.DOTALL)
    for figure in figures:
        (points,) = re.findall(r'<script type="application/json">(.*?)</script>', figure)
        for series in json.loads(points)["series"]:
            if series["label"]:
                assert f'data-series="{series["key"]}"' in figure
                assert f'-series-{series["key"]}"' in figure


def test_plots_follow_the_page_from_light_to_dark(document: str) -> None:
    plots = "".join(re.findall(r"<svg.*?</svg>", document, flags=re.DOTALL))
    assert "var(--ink)" in plots
    assert "#1c2733" not in plots
    assert "light-dark(" in document


def test_the_numbers_are_there(document: str) -> None:
    text = Page(document).text
    for expected in (
        "fkd-digits-s0-20260131-142530-1a2b3c",
        "student 80.2 % +15.1 points",
        "local-only (baseline) 65.1 %",
        "centralised (baseline) 95.3 %",
        "mean total variation 0.521",
        "bytes up 16.0 MB",
        "local training 1 min 26 s",
        "Over all rounds: 1 refused, 1 dropped, 2 late",
        "2 1 not_finite logits hold NaN",
        "fedkd simulate runs/fkd-digits-s0-20260131-142530-1a2b3c/config.toml",
        "dirichlet_alpha = 0.3",
        "rounds 10 5",
        "distillation.temperature 3.0 –",
        "On the test split they last agreed on 89.4 % of the samples.",
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
    document = report(run, {HOSTILE: HOSTILE}, {HOSTILE: {"a": HOSTILE}, "list": [HOSTILE]}, partition, drawn=True)
    page = Page(document)
    assert page.open == []
    assert {script.get("type") for script in page.named("script")} == {"application/json", None}
    assert len([script for script in page.named("script") if not script]) == 1
    assert not page.named("img")
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    assert page.text.count('<script>alert("x")</script>') >= 6
    assert "$name ${style}" in page.text


def test_a_control_character_does_not_reach_the_page(make_run: MakeRun) -> None:
    assert "\x00" not in report(make_run(1, method="a\x00b"))


def test_a_command_for_an_odd_folder_is_quoted(make_run: MakeRun) -> None:
    text = Page(report(make_run(1, run_dir="my runs/a; rm"))).text
    assert "fedkd simulate 'my runs/a; rm/config.toml'" in text


def test_a_run_with_nothing_measured_is_reported_with_dashes(make_run: MakeRun) -> None:
    run = make_run(0, student={}, ensemble_teacher={}, clients={}, baselines={})
    page = Page(report(run, drawn=True))
    assert "student – –" in page.text
    assert "Every reply arrived in time and was used." in page.text
    assert len(plots_of(page)) == 3


def test_many_refusals_are_cut_and_the_cut_is_named(make_round: Callable[..., RoundRecord], make_run: MakeRun) -> None:
    refused = tuple(Refusal(client=index, reason="shape", detail="d") for index in range(203))
    page = Page(report(make_run(1, history=(make_round(1, refused=refused),))))
    assert "3 more refusals are in rounds.jsonl" in page.text


def test_the_same_records_give_the_same_page(
    document: str,
    make_run: MakeRun,
    make_partition: MakePartition,
    config: dict[str, object],
    environment: dict[str, object],
) -> None:
    assert report(make_run(), config, environment, make_partition(), drawn=True) == document


def test_a_run_that_is_not_over_says_so(make_run: MakeRun) -> None:
    warning = "is still going, or was stopped: 2 of 9 rounds are on this page."
    assert warning in Page(report(make_run(2, rounds=9))).text
    assert "still going" not in Page(report(make_run(2))).text


def compared(make_run: MakeRun) -> list[ReportedRun]:
    config = {"method": {"name": "fkd", "temperature": 1.0}, "run": {"name": "a", "seed": 0}}
    other = {"method": {"name": HOSTILE}, "run": {"name": "b", "seed": 0}}
    hot = {"method": {"name": "fkd", "temperature": 3.0}, "run": {"name": "c", "seed": 0}}
    history = tuple(
        record.model_copy(update={"student": StudentScore(), "agreement": None}) for record in make_run(3).history
    )
    without_student = make_run(3, run_dir="runs/b", method=HOSTILE, student={}, baselines={}, history=history)
    return [
        ReportedRun(make_run(4, run_dir="runs/a"), config),
        ReportedRun(without_student, other),
        ReportedRun(make_run(2, run_dir="runs/c", rounds=9), hot),
    ]


def test_several_runs_are_compared_on_one_page(make_run: MakeRun) -> None:
    document = render_comparison(compared(make_run))
    page = Page(document)
    assert page.open == []
    assert len(plots_of(page)) == len(page.named("figure")) == 6
    assert "fkd, temperature = 1.0 4/4 80.2 % 85.2 % 68.9 % 52.8 % 65.1 % 95.3 %" in page.text
    assert "c is still going, or was stopped: 2 of 9 rounds" in page.text
    assert "fedkd simulate runs/c/config.toml" in page.text
    assert "run.name" not in page.text
    assert "Clients' mean for what has no student: <script>alert(" in page.text
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert not page.named("img")
