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


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314


def ids(svg: str) -> list[str]:
    return [element.attrib["id"] for element in ET.fromstring(svg).iter() if "id" in element.attrib]  # noqa: S314


def test_every_plot_is_one_svg_element_that_says_what_it_shows(
    make_run: MakeRun, make_partition: MakePartition
) -> None:
    for svg in draw_all(make_run(), make_partition()):
        root = ET.fromstring(svg)  # noqa: S314
        assert root.tag == f"{SVG}svg"
        assert root.attrib["role"] == "img"
        assert len(root.attrib["aria-label"]) > 20
        assert root[0].tag == f"{SVG}title"
        assert root[0].text


def test_ids_are_unique_over_all_plots_and_every_reference_finds_its_id(
    make_run: MakeRun, make_partition: MakePartition
) -> None:
    plots = draw_all(make_run(), make_partition())
    every_id = [identifier for svg in plots for identifier in ids(svg)]
    assert len(every_id) == len(set(every_id)) > 100
    for svg in plots:
        references = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))
        assert references
        assert references <= set(ids(svg))


def test_the_same_run_gives_the_same_bytes(make_run: MakeRun, make_partition: MakePartition) -> None:
    assert draw_all(make_run(), make_partition()) == draw_all(make_run(), make_partition())


def test_plots_hold_no_date_and_leave_matplotlib_as_it_was(make_run: MakeRun, make_partition: MakePartition) -> None:
    before = dict(matplotlib.rcParams)
    for svg in draw_all(make_run(), make_partition()):
        assert "dc:date" not in svg
        assert "<!DOCTYPE" not in svg
    assert dict(matplotlib.rcParams) == before


def test_a_users_settings_have_no_part_in_a_plot(make_run: MakeRun) -> None:
    plain = accuracy_plot(make_run())
    with matplotlib.rc_context({"lines.linestyle": ":", "axes.titlesize": 40, "xtick.direction": "in"}):
        assert accuracy_plot(make_run()) == plain


def test_accuracy_names_what_was_measured_and_both_bounds(make_run: MakeRun) -> None:
    named = texts(accuracy_plot(make_run()))
    for name in ("student", "ensemble teacher", "clients, mean", "clients, worst", "local-only", "centralised"):
        assert named.count(name) == 1


def test_accuracy_leaves_out_what_was_not_measured(make_round: Callable[..., RoundRecord], make_run: MakeRun) -> None:
    history = tuple(make_round(number, student={}, ensemble_teacher={}) for number in (1, 2))
    svg = accuracy_plot(make_run(2, history=history, bounds=Bounds(local_only=0.5)))
    named = texts(svg)
    assert "clients, mean" in named
    assert "local-only" in named
    assert not {"student", "ensemble teacher", "centralised"} & set(named)


def test_the_label_speaks_the_numbers(make_run: MakeRun) -> None:
    label = ET.fromstring(accuracy_plot(make_run())).attrib["aria-label"]  # noqa: S314
    assert "Student: from 38.6 % to 80.2 %." in label
    assert "local-only 65.1 %, centralised 95.3 %" in label


def test_a_run_without_rounds_or_scores_still_has_its_plots(make_run: MakeRun) -> None:
    empty = make_run(0, bounds=Bounds())
    assert "no accuracy was measured" in texts(accuracy_plot(empty))
    assert "no accuracy was measured" in texts(bytes_plot(empty))
    assert "seconds" in texts(seconds_plot(empty))


def test_bytes_are_in_the_unit_that_reads_best(make_run: MakeRun) -> None:
    assert "payload so far, up and down (MB)" in texts(bytes_plot(make_run()))


def test_seconds_name_every_phase(make_run: MakeRun) -> None:
    named = texts(seconds_plot(make_run()))
    for phase in ("local training", "public inference", "aggregation", "distillation", "evaluation", "wall time"):
        assert phase in named


def test_a_small_partition_carries_its_numbers(make_partition: MakePartition) -> None:
    partition = make_partition()
    positive = [count for row in partition.counts for count in row if count]
    named = texts(partition_plot(partition))
    for count in set(positive):
        assert named.count(str(count)) >= positive.count(count)


def test_a_large_partition_stays_small_and_asks_for_nothing(make_partition: MakePartition) -> None:
    svg = partition_plot(make_partition(100, tuple(f"class {index}" for index in range(100))))
    assert len(svg) < 200_000
    assert all(target.startswith(("#", "data:")) for target in re.findall(r'href="([^"]*)"', svg))


@pytest.mark.parametrize("name", ["$x^$", "<b>&\"'", "ねこ", "nul\x00", 'id="x" url(#y)', "a\nb", "long" * 20])
def test_any_class_name_gives_a_valid_plot(name: str, make_partition: MakePartition) -> None:
    svg = partition_plot(make_partition(3, (name, "other")))
    shown = " ".join(name.split()).replace("\x00", "\ufffd")
    expected = shown if len(shown) <= 16 else shown[:15] + "…"
    assert expected in texts(svg)


def test_a_partition_without_samples_is_drawn(make_partition: MakePartition) -> None:
    empty = PartitionRecord(class_names=("a", "b"), counts=((0, 0),), skew={}, description="none")
    assert "client" in texts(partition_plot(empty))


def test_write_plots_saves_each_as_a_file(make_run: MakeRun, make_partition: MakePartition, tmp_path: Path) -> None:
    store = RunStore.create(tmp_path, "a-run")
    paths = write_plots(store, make_run(2), make_partition())
    assert sorted(path.name for path in paths) == ["accuracy.svg", "bytes.svg", "partition.svg", "seconds.svg"]
    assert (store.plots_path / "accuracy.svg").read_text(encoding="utf-8") == accuracy_plot(make_run(2))
    assert len(write_plots(RunStore.create(tmp_path, "other"), make_run(2), None)) == 3
