"""The pages in a real browser: what a pointer, a key and a click do, and that nothing leaves the file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fedkd.records import PartitionRecord, RunRecord
from fedkd.reporting import ReportedRun, render_comparison, render_report, run_plots

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path (Debian: apt-get install chromium)")

ACCURACY = "figure[data-plot='plot-accuracy']"


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory,
    make_run: Callable[..., RunRecord],
    make_partition: Callable[..., PartitionRecord],
    config: dict[str, object],
    environment: dict[str, object],
) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    run, partition = make_run(), make_partition()
    reported = ReportedRun(run, config, environment, partition)
    long = "a_very_long_value_without_any_place_at_which_a_line_could_be_broken_in_two"
    others = [
        ReportedRun(make_run(6, run_dir=f"runs/{name}"), config | {"seed": name}, environment, partition)
        for name in ("b", long)
    ]
    pages = {"report": render_report(reported, run_plots(run, partition)), "comparison": render_comparison(others)}
    for name, page in pages.items():
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in pages}


@dataclass
class Opened:
    """A page, all that it asked for, and all that it complained of."""

    page: sync_api.Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def show(browser: sync_api.Browser, files: dict[str, Path]) -> Iterator[Callable[..., Opened]]:
    """Open a page; when the test is over, nothing was asked for but the file, and nothing was complained of."""
    everything: list[tuple[Opened, str]] = []

    def opened(name: str, width: int = 1280, **options: object) -> Opened:
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        watched = Opened(page)
        page.on("request", lambda request: watched.requests.append(request.url))
        page.on("console", lambda message: watched.complaints.append(message.text))
        page.on("pageerror", lambda error: watched.complaints.append(str(error)))
        page.goto(files[name].as_uri())
        everything.append((watched, files[name].as_uri()))
        return watched

    yield opened
    for watched, uri in everything:
        watched.page.close()
        assert [url for url in watched.requests if not url.startswith("data:")] == [uri]
        assert watched.complaints == []


def point_at(page: sync_api.Page, figure: str, across: float, down: float = 0.4) -> None:
    """Move the pointer to a share of the width and height of a plot."""
    place = page.locator(f"{figure} .plot > svg")
    place.scroll_into_view_if_needed()
    box = place.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"])


def test_pointing_at_a_curve_shows_the_values_of_its_round(show: Callable[..., Opened]) -> None:
    page = show("report").page
    tip = page.locator(f"{ACCURACY} .tip")
    assert tip.is_hidden()
    point_at(page, ACCURACY, 0.95)
    assert tip.inner_text().splitlines()[:2] == ["round 10", "student: 80.2 %"]
    assert "centralised: 94.6 %" in tip.inner_text()
    point_at(page, ACCURACY, 0.02)
    assert tip.is_hidden()


def test_pointing_at_a_cell_shows_its_count(
    show: Callable[..., Opened], make_partition: Callable[..., PartitionRecord]
) -> None:
    page = show("report").page
    figure = "figure[data-plot='plot-partition']"
    cell = page.locator(f"{figure} .plot > svg text", has_text="99").first
    cell.scroll_into_view_if_needed()
    cell.hover(force=True)
    counts = make_partition().counts
    client, label = next((k, c) for k, row in enumerate(counts) for c, count in enumerate(row) if count == 99)
    assert page.locator(f"{figure} .tip").inner_text().splitlines() == [f"client {client}, class {label}", "99 samples"]


def test_the_arrow_keys_read_values_out(show: Callable[..., Opened]) -> None:
    page = show("report").page
    page.locator(f"{ACCURACY} .plot").focus()
    tip = page.locator(f"{ACCURACY} .tip")
    for expected in ("round 1", "round 2"):
        page.keyboard.press("ArrowRight")
        assert tip.inner_text().splitlines()[0] == expected
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_a_click_in_the_legend_hides_a_series_and_another_shows_it(show: Callable[..., Opened]) -> None:
    page = show("report").page
    button = page.locator(f"{ACCURACY} button[data-series='student']")
    curve = page.locator("#plot-accuracy-series-student")
    assert curve.is_visible()
    button.click()
    assert curve.is_hidden()
    assert button.get_attribute("aria-pressed") == "false"
    point_at(page, ACCURACY, 0.95)
    assert "student:" not in page.locator(f"{ACCURACY} .tip").inner_text()
    button.click()
    assert curve.is_visible()


def test_a_click_hides_a_run_in_every_plot_of_a_comparison(show: Callable[..., Opened]) -> None:
    page = show("comparison").page
    drawn = page.locator("[id$='-series-run-1']")
    assert drawn.count() == 6
    page.locator("button[data-series='run-1']").first.click()
    assert not any(group.is_visible() for group in drawn.all())
    assert all(group.is_visible() for group in page.locator("[id$='-series-run-0']").all())


@pytest.mark.parametrize("name", ["report", "comparison"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_fits_a_telephone(show: Callable[..., Opened], name: str, scheme: str) -> None:
    page = show(name, width=400, color_scheme=scheme).page
    page.locator("details").evaluate_all("all => all.forEach(each => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_light_and_dark_change_places(show: Callable[..., Opened]) -> None:
    page = show("report", color_scheme="dark").page
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.locator("#theme").click()
    light = page.evaluate(paper)
    assert (dark, light) == ("rgb(14, 19, 24)", "rgb(243, 245, 248)")
    page.emulate_media(media="print")
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


def test_without_script_everything_is_still_there(show: Callable[..., Opened]) -> None:
    page = show("report", java_script_enabled=False).page
    assert page.locator(f"{ACCURACY} .plot > svg").is_visible()
    assert page.locator("#plot-accuracy-series-student").is_visible()
    assert page.locator("#theme").is_hidden()
    page.locator(f"{ACCURACY} summary").click()
    assert page.locator(f"{ACCURACY} table").is_visible()
