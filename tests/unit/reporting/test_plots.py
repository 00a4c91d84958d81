from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import matplotlib
import pytest

from fedkd.records import Bounds, PartitionRecord, RoundRecord, RunRecord
from fedkd.reporting import RunStore, accuracy_plot, bytes_plot, partition_plot, seconds_plot, write_plots

SVG = "{http://www.w3.org/2000/svg}"
MakeRun = Callable[..., RunRecord]
MakePartition = Callable[..., PartitionRecord]


def draw_all(run: RunRecord, partition: PartitionRecord) -> list[str]:
    return [accuracy_plot(run), bytes_plot(run), seconds_plot(run), partition_plot(partition)]


@pytest.fixture(scope="module")
def plots(make_run: MakeRun, make_partition: MakePartition) -> list[str]:
    return draw_all(make_run(), make_partition())


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


def test_the_same_run_gives_the_same_bytes(plots: list[str], make_run: MakeRun, make_partition: MakePartition) -> None:
    assert draw_all(make_run(), make_partition()) == plots


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
        assert accuracy_plot(make_run()) == plots[0]


def test_accuracy_names_what_was_measured_and_both_bounds(plots: list[str]) -> None:
    named = texts(plots[0])
    for name in ("student", "ensemble teacher", "clients, mean", "clients, worst", "local-only", "centralised"):
        assert named.count(name) == 1


def test_accuracy_leaves_out_what_was_not_measured(make_round: Callable[..., RoundRecord], make_run: MakeRun) -> None:
    history = tuple(make_round(number, student={}, ensemble_teacher={}) for number in (1, 2))
    svg = accuracy_plot(make_run(2, history=history, bounds=Bounds(local_only=0.5)))
    named = texts(svg)
    assert "clients, mean" in named
    assert "local-only" in named
    assert not {"student", "ensemble teacher", "centralised"} & set(named)


def test_the_label_speaks_the_numbers(plots: list[str]) -> None:
    label = ET.fromstring(plots[0]).attrib["aria-label"]  # noqa: S314
    assert "Student: from 38.6 % to 80.2 %." in label
    assert "local-only 65.1 %, centralised 95.3 %" in label


def test_a_run_without_rounds_or_scores_still_has_its_plots(make_run: MakeRun) -> None:
    empty = make_run(0, bounds=Bounds())
    assert "no accuracy was measured" in texts(accuracy_plot(empty))
    assert "no accuracy was measured" in texts(bytes_plot(empty))
    assert "seconds" in texts(seconds_plot(empty))


def test_bytes_are_in_the_unit_that_reads_best(plots: list[str]) -> None:
    assert "payload so far, up and down (MB)" in texts(plots[1])


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
    svg = partition_plot(make_partition(100, tuple(f"class {index}" for index in range(100))))
    assert len(svg) < 200_000
    assert all(target.startswith(("#", "data:")) for target in re.findall(r'href="([^"]*)"', svg))


def test_any_class_name_gives_a_valid_plot(make_partition: MakePartition) -> None:
    names = ("$x^$", "<b>&\"'", "ねこ", "nul\x00", 'id="x" url(#y)', "a\nb", "long" * 20)
    named = texts(partition_plot(make_partition(1, names)))
    expected = ["$x^$", "<b>&\"'", "ねこ", "nul\ufffd", 'id="x" url(#y)', "a b", "longlonglonglon…"]
    assert [name for name in named if name in expected] == expected


def test_a_partition_without_samples_is_drawn(make_partition: MakePartition) -> None:
    empty = PartitionRecord(class_names=("a", "b"), counts=((0, 0),), skew={}, description="none")
    assert "client" in texts(partition_plot(empty))


def test_write_plots_saves_each_as_a_file(make_run: MakeRun, make_partition: MakePartition, tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, "a-run")
    paths = write_plots(store, make_run(2), make_partition())
    assert sorted(path.name for path in paths) == ["accuracy.svg", "bytes.svg", "partition.svg", "seconds.svg"]
    assert (store.plots_path / "accuracy.svg").read_text(encoding="utf-8") == accuracy_plot(make_run(2))
    assert len(write_plots(RunStore.create(tmp_path, "other"), make_run(2), None)) == 3
