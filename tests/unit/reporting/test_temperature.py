"""The choice of a temperature as table, lines, plot and files."""

from __future__ import annotations

import math
from html import unescape
from xml.etree import ElementTree

import numpy as np
import pytest

from fedkd.distillation.temperature import judge, settings_of
from fedkd.errors import RunFolderError
from fedkd.records import TemperatureChoice
from fedkd.reporting.plots import run_plots
from fedkd.reporting.temperature import (
    HEAD,
    temperature_lines,
    temperature_plot,
    temperature_rows,
    temperature_summary,
    temperature_table,
    write_choice,
)


def choice(*, labelled: bool = True) -> TemperatureChoice:
    rng = np.random.default_rng(0)
    teacher, *students = rng.normal(size=(3, 40, 4)).astype(np.float32)
    return judge(settings_of((4, 1)), students, teacher, rng.integers(0, 4, 40) if labelled else None)


def test_a_row_for_each_trial_and_no_empty_column_without_labels():
    made = choice()
    for row, trial in zip(temperature_rows(made), made.trials, strict=True):
        assert row[:3] == (f"{trial.temperature:g}", "1", f"{100 * trial.accuracy:.2f} %")
        assert row[-1] == trial.verdict
    assert [column.header for column in temperature_table(made).columns] == list(HEAD)
    shown = [column.header for column in temperature_table(choice(labelled=False)).columns]
    assert shown == ["T", "alpha", "agreement", "KL to teacher", "entropy", "verdict"]


def test_the_lines_say_what_was_chosen_and_why():
    made = choice()
    first, teacher, *notes = temperature_lines(made)
    assert first == f"chosen: T = {made.temperature:g}, alpha = 1: {made.why}"
    assert f"accuracy {100 * made.teacher_accuracy:.2f} %" in teacher
    assert tuple(notes) == made.notes


def test_the_plot_holds_every_measure_in_the_order_of_temperatures():
    made = choice()
    plot = temperature_plot(made)
    four, one = made.trials
    assert plot.table.rows[0][:4] == (
        "1",
        *(f"{100 * share:.1f} %" for share in (one.accuracy, one.agreement, one.entropy / math.log(4))),
    )
    assert plot.table.rows[1][0] == "4"
    assert plot.table.rows[1][1] == f"{100 * four.accuracy:.1f} %"
    ElementTree.fromstring(plot.svg)  # noqa: S314 (made here)


def test_what_is_written_is_what_was_chosen(tmp_path):
    record, plot = write_choice(choice(), tmp_path / "made" / "here")
    assert TemperatureChoice.model_validate_json(record.read_bytes()) == choice()
    assert plot.read_text() == temperature_plot(choice()).svg
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot make"):
        write_choice(choice(), tmp_path / "file")


def test_the_report_shows_the_last_choice_and_names_the_earlier_ones(make_run, make_round, section_of):
    earlier, last = choice(), choice(labelled=False)
    history = (make_round(1, temperature_choice=earlier), make_round(2), make_round(3, temperature_choice=last))
    run = make_run(3, history=history)
    shown = unescape(section_of(run, "temperature", run_plots(run, None)))
    for line in (*temperature_lines(last), earlier.why, *(trial.verdict for trial in last.trials)):
        assert line in shown
    assert f"Round 3, chosen: T = {last.temperature:g}" in shown
    assert run_plots(run, None)["temperature"].svg == temperature_plot(last).svg
    assert 'id="plot-temperature"' in shown
    assert "accuracy</th>" not in shown  # nothing was labelled in the last choice


def test_a_run_that_chose_nothing_has_no_such_section(make_run, section_of):
    run = make_run(2)
    assert temperature_summary(run) is None
    assert section_of(run, "temperature") == ""
    assert "temperature" not in run_plots(run, None)
