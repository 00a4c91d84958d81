"""The temperature that a federation's ensemble teacher asks for, without leaving a run folder."""

from __future__ import annotations

from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.engines.simulation import simulate
from fedkd.errors import ConfigError, RoundError
from fedkd.federation.observers import Observer
from fedkd.records import TemperatureChoice

DEFAULT_GRID = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Temperatures to try where nobody names any."""


def grid_of(text: str | None) -> tuple[float, ...]:
    """Read "1,2,4"; `None` stands for `DEFAULT_GRID`.

    Raises:
        ConfigError: not numbers with commas between.
    """
    if text is None:
        return DEFAULT_GRID
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as cause:
        raise ConfigError("--grid", text, "temperatures above 0 with commas between, like 1,2,4") from cause


def with_grid(config: ExperimentConfig, grid: str | None) -> ExperimentConfig:
    """Let the experiment try the temperatures of `grid` ("1,2,4"); with `None` its own, or `DEFAULT_GRID`.

    Raises:
        ConfigError: no temperatures, or none that this experiment can try.
    """
    if grid is None and config.student.temperature_selection.grid:
        return config
    values = config.model_dump()
    values["student"]["temperature_selection"]["grid"] = grid_of(grid)
    return parse_config(values)


def choose_temperature(config: ExperimentConfig, observer: Observer | None = None) -> TemperatureChoice:
    """Run the federation as configured, and choose in its last round, from the student and the teacher of then.

    Raises:
        ConfigError: there is no grid.
        RoundError: the last round was not completed.
    """
    selection = config.student.temperature_selection
    if not selection.grid:
        raise ConfigError("student.temperature_selection.grid", [], "one or more temperatures to try")
    last = selection.model_copy(update={"every": config.run.rounds})
    student = config.student.model_copy(update={"temperature_selection": last})
    result = simulate(config.model_copy(update={"student": student}), observer or Observer())
    choice = result.history[-1].temperature_choice
    if choice is None:
        raise RoundError(f"round {config.run.rounds} had too few usable replies, so there is no teacher to learn from")
    return choice
