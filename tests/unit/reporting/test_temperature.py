"""The choice of a temperature as table, lines, plot and files."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import numpy as np
import pytest

from fedkd.distillation.temperature import judge, settings_of
from fedkd.errors import RunFolderError
from fedkd.records import TemperatureChoice
from fedkd.reporting.temperature import (
    HEAD,
    temperature_lines,
    temperature_plot,
    temperature_rows,
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
