"""`fedkd temperature` finds a temperature, says why, and leaves record and plot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fedkd.records import TemperatureChoice

QUICK = ("--set", "run.rounds=1", "--set", "training.epochs=1", "--set", "student.epochs=2")


def test_a_grid_becomes_a_table_a_diagnosis_and_two_files(
    folder: Path, tmp_path: Path, invoke: Callable[..., str]
) -> None:
    output = tmp_path / "found"
    arguments = ("temperature", folder / "experiment.toml", "--grid", "1,8", "--output", output, *QUICK)
    printed = invoke(*arguments, "--set", "data.public.labelled=true")
    choice = TemperatureChoice.model_validate_json((output / "temperature.json").read_bytes())
    assert [trial.temperature for trial in choice.trials] == [1, 8]
    assert choice.labelled
    assert f"chosen: T = {choice.temperature:g}, alpha = 1: {choice.why}" in printed
    assert f"written: {output / 'temperature.svg'}" in printed
    assert "<svg" in (output / "temperature.svg").read_text(encoding="utf-8")

    unlabelled = TemperatureChoice.model_validate_json(invoke(*arguments, "--json"))
    assert not unlabelled.labelled
    assert unlabelled == TemperatureChoice.model_validate_json((output / "temperature.json").read_bytes())


def test_a_grid_that_is_none_is_refused(folder: Path, refuse: Callable[..., str]) -> None:
    assert "--grid = '1;2' is not allowed" in refuse("temperature", folder / "experiment.toml", "--grid", "1;2")
    line = refuse("temperature", folder / "experiment.toml", "--set", "method.name=fedmd")
    assert "student.temperature_selection.grid" in line


OFFLINE = """
[data]
train_size = 300
[data.public]
size = 100
[teacher]
model = "mlp"
epochs = 3
[student]
model = "mlp"
epochs = 2
"""


def test_one_teacher_without_a_federation(
    tmp_path: Path, invoke: Callable[..., str], refuse: Callable[..., str]
) -> None:
    config = tmp_path / "distill.toml"
    config.write_text(OFFLINE, encoding="utf-8")
    arguments = ("temperature", config, "--grid", "1,4", "--output", tmp_path)
    choices = [TemperatureChoice.model_validate_json(invoke(*arguments, "--json")) for _ in range(2)]
    assert choices[0] == choices[1], "seeded"
    assert [trial.temperature for trial in choices[0].trials] == [1, 4]
    assert choices[0].trials[0].divergence != choices[0].trials[1].divergence
    assert (choices[0].samples, choices[0].labelled) == (20, False)
    assert "student.objective.loss = 'mse'" in refuse(*arguments, "--set", "student.objective.loss=mse")
    assert "data.public.size = 2" in refuse(*arguments, "--set", "data.public.size=2")
