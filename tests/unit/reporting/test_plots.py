from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from fedkd.errors import RunFolderError
from fedkd.records import Baselines, PartitionRecord, RoundRecord, RunRecord
from fedkd.reporting import RunStore, partition_plot, run_plots, write_plots
from fedkd.reporting.heatmap import _FEW, _MANY
from fedkd.reporting.plot import Plot, stroke
from fedkd.reporting.plots import accuracy_plot, bytes_plot, seconds_plot
from fedkd.reporting.style import STYLE

SVG = "{http://www.w3.org/2000/svg}"
MakeRun = Callable[..., RunRecord]
MakePartition = Callable[..., PartitionRecord]


@pytest.fixture(scope="module")
def drawn(make_run: MakeRun, make_partition: MakePartition) -> dict[str, Plot]:
    return run_plots(make_run(), make_partition())


@pytest.fixture(scope="module")
def plots(drawn: dict[str, Plot]) -> list[str]:
    return [drawn[name].svg for name in ("accuracy", "bytes", "seconds", "partition")]


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314


def ids(svg: str) -> list[str]:
    return [element.attrib["id"] for element in ET.fromstring(svg).iter() if "id" in element.attrib]  # noqa: S314


def test_every_plot_is_one_svg_element_that_says_what_it_shows(plots: list[str]) -> None:
    for svg in plots:
        root = ET.fromstring(svg)  # noqa: S314
        assert root.tag == f"{SVG}svg"
        assert root.attrib["role"] == "img"
        assert len(root.attrib["aria-label"]) > 20
        assert root[0].tag == f"{SVG}title"
        assert root[0].text


def test_ids_are_unique_over_all_plots_and_every_reference_finds_its_id(plots: list[str]) -> None:
    every_id = [identifier for svg in plots for identifier in ids(svg)]
    assert len(every_id) == len(set(every_id)) > 100
    for svg in plots:
        references = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
        assert references
        assert references <= set(ids(svg))


def test_plots_hold_no_date_and_no_doctype(plots: list[str]) -> None:
    for svg in plots:
        assert "dc:date" not in svg
        assert "<!DOCTYPE" not in svg


def test_drawing_leaves_matplotlib_as_it_was(make_run: MakeRun) -> None:
    before = dict(matplotlib.rcParams)
    bytes_plot(make_run(2))
    assert dict(matplotlib.rcParams) == before


def test_a_users_settings_have_no_part_in_a_plot(plots: list[str], make_run: MakeRun) -> None:
    with matplotlib.rc_context({"lines.linestyle": ":", "axes.titlesize": 40, "xtick.direction": "in"}):
        assert accuracy_plot(make_run()).svg == plots[0]


def test_accuracy_names_what_was_measured_and_both_baselines(plots: list[str]) -> None:
    named = texts(plots[0])
    for name in ("student", "ensemble teacher", "clients, mean", "clients, worst", "local-only", "centralised"):
        assert named.count(name) == 1


def test_accuracy_leaves_out_what_was_not_measured(make_round: Callable[..., RoundRecord], make_run: MakeRun) -> None:
    history = tuple(make_round(number, student={}, ensemble_teacher={}) for number in (1, 2))
    svg = accuracy_plot(make_run(2, history=history, baselines=Baselines(local_only=0.5))).svg
    named = texts(svg)
    assert "clients, mean" in named
    assert "local-only" in named
    assert not {"student", "ensemble teacher", "centralised"} & set(named)


def test_the_label_speaks_the_numbers(plots: list[str]) -> None:
    label = ET.fromstring(plots[0]).attrib["aria-label"]  # noqa: S314
    assert "Student: from 38.6 % to 80.2 %." in label
    assert "local-only 65.1 %, centralised 95.3 %" in label


def test_a_run_without_rounds_or_scores_still_has_its_plots(make_run: MakeRun) -> None:
    empty = make_run(0, baselines=Baselines())
    for plot in (accuracy_plot(empty), bytes_plot(empty), seconds_plot(empty)):
        assert "nothing was measured" in texts(plot.svg)
        assert plot.series == plot.table.rows == ()


def test_bytes_are_in_the_unit_that_reads_best(plots: list[str]) -> None:
    assert "payload so far (MB)" in texts(plots[1])


def test_seconds_name_every_phase(plots: list[str]) -> None:
    named = texts(plots[2])
    for phase in ("local training", "public inference", "aggregation", "distillation", "evaluation", "wall time"):
        assert phase in named


def test_a_small_partition_carries_its_numbers(plots: list[str], make_partition: MakePartition) -> None:
    positive = [count for row in make_partition().counts for count in row if count]
    named = texts(plots[3])
    for count in set(positive):
        assert named.count(str(count)) >= positive.count(count)


def test_a_large_partition_stays_small_and_asks_for_nothing(make_partition: MakePartition) -> None:
    svg = partition_plot(make_partition(100, tuple(f"class {index}" for index in range(100)))).svg
    assert len(svg) < 200_000
    assert all(target.startswith(("#", "data:")) for target in re.findall(r'href="([^"]*)"', svg))


def test_any_class_name_gives_a_valid_plot(make_partition: MakePartition) -> None:
    names = ("$x^$", "<b>&\"'", "ねこ", "nul\x00", 'id="x" url(#y)', "a\nb", "long" * 20)
    named = texts(partition_plot(make_partition(1, names)).svg)
    expected = ["$x^$", "<b>&\"'", "ねこ", "nul\ufffd", 'id="x" url(#y)', "a b", "longlonglonglon…"]
    assert [name for name in named if name in expected] == expected


def test_a_partition_without_samples_is_drawn(make_partition: MakePartition) -> None:
    empty = PartitionRecord(class_names=("a", "b"), counts=((0, 0),), skew={}, description="none")
    assert "client" in texts(partition_plot(empty).svg)


def test_write_plots_saves_each_as_a_file(drawn: dict[str, Plot], tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, "a-run")
    paths = write_plots(store, drawn)
    assert sorted(path.stem for path in paths) == sorted(drawn)
    for name, plot in drawn.items():
        assert (store.plots_path / f"{name}.svg").read_text(encoding="utf-8") == plot.svg


def test_what_was_not_recorded_has_no_plot(make_round: Callable[..., RoundRecord], make_run: MakeRun) -> None:
    """As in a run folder of an earlier version."""
    old = make_run(1, history=(make_round(1, agreement=None, distillation=None),))
    assert run_plots(old, None).keys() == {"accuracy", "bytes", "seconds"}


def test_a_page_frames_the_drawing_without_the_legend_of_the_file(drawn: dict[str, Plot]) -> None:
    plot = drawn["accuracy"]
    _, _, width, height = ET.fromstring(plot.svg).attrib["viewBox"].split()  # noqa: S314
    inline = ET.fromstring(plot.inline).attrib  # noqa: S314
    assert inline["viewBox"].split() == ["0", "0", width, "260"]
    assert float(height) > 260
    assert "width" not in inline
    assert plot.inline.partition("viewBox")[2].partition(">")[2] == plot.svg.partition("viewBox")[2].partition(">")[2]


def drawn_places(svg: str, group: str) -> list[tuple[float, float]]:
    """Where the marks of a series stand in the SVG itself."""
    (element,) = [each for each in ET.fromstring(svg).iter(f"{SVG}g") if each.attrib.get("id") == group]  # noqa: S314
    return [(float(mark.attrib["x"]), float(mark.attrib["y"])) for mark in element.iter(f"{SVG}use")]


def test_values_lie_under_the_pointer_where_the_marks_are_drawn(drawn: dict[str, Plot]) -> None:
    """The places that the script is given are those at which matplotlib wrote the marks."""
    for name in ("accuracy", "bytes", "seconds", "agreement"):
        for series in drawn[name].series:
            if series.stroke.marker:
                places = drawn_places(drawn[name].svg, f"plot-{name}-series-{series.key}")
                assert np.allclose([(point.x, point.y) for point in series.points], places, atol=0.06, rtol=0)


def test_a_value_under_the_pointer_is_the_records(drawn: dict[str, Plot], make_run: MakeRun) -> None:
    student = next(series for series in drawn["accuracy"].series if series.key == "student")
    said = [(point.where, point.value) for point in student.points]
    assert said == [(f"round {r.server_round}", f"{100 * r.student.accuracy:.1f} %") for r in make_run().history]
    cells = {point.where: point.value for point in drawn["partition"].series[0].points}
    assert len(cells) == 80
    assert cells["client 3, class 7"] == f"{drawn['partition'].table.rows[3][8]} samples"


def test_no_two_series_of_a_plot_are_told_apart_by_colour_alone(drawn: dict[str, Plot]) -> None:
    for plot in drawn.values():
        looks = [(series.stroke.dashes, series.stroke.marker) for series in plot.series]
        assert len(looks) == len(set(looks))


def test_strokes_of_many_runs_differ_without_their_colours() -> None:
    looks = [(stroke(index).dashes, stroke(index).marker) for index in range(32)]
    assert len(set(looks)) == 32


def luminance(colour: str) -> float:
    """Of WCAG 2.2."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: str, second: str) -> float:
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def over(colour: str, paper: str) -> str:
    """A colour with opacity as it looks on paper."""
    opacity = int(colour[7:9], 16) / 255
    pairs = [(int(colour[i : i + 2], 16), int(paper[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(opacity * top + (1 - opacity) * below):02x}" for top, below in pairs)


PAGES = [dict(re.findall(rf"--(\w+): light-dark\({side}\)", STYLE)) for side in (r"(#\w+), #\w+", r"#\w+, (#\w+)")]


@pytest.mark.parametrize("page", PAGES, ids=["light", "dark"])
def test_colours_stand_out_on_light_paper_and_on_dark(page: dict[str, str]) -> None:
    for index in range(8):
        assert contrast(stroke(index).colour, page["paper"]) >= 3
    for words in ("ink", "muted", "accent"):
        assert contrast(page[words], page["paper"]) >= 4.5
        assert contrast(page[words], page["page"]) >= 4.5
    for cell in (_FEW, _MANY):
        assert contrast(page["ink"], over(cell, page["paper"])) >= 4.5


def test_a_long_run_has_a_short_table_and_every_value_under_the_pointer(make_run: MakeRun) -> None:
    plot = accuracy_plot(make_run(500))
    assert len(plot.series[0].points) == 500
    assert 50 < len(plot.table.rows) <= 100
    assert plot.table.rows[-1][0] == "500"


def test_confusion_between_classes_that_nobody_names_is_refused(
    make_run: MakeRun, make_partition: MakePartition
) -> None:
    with pytest.raises(RunFolderError, match="confusion-student has 10 classes; the partition names 3"):
        run_plots(make_run(1), make_partition(2, ("a", "b", "c")))
