"""The study file: a base experiment, what varies, and over which seeds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from fedkd.config.experiment import ExperimentConfig
from fedkd.types import Section

Settings = dict[str, Any]
"""Config keys, dotted, and what they are set to; a table is merged into the section that it is for."""

_DECIDED_HERE = ("run.seed", "run.name", "run.output", "run.engine", "ray")


COLUMNS = ("cell", "seed", "state", "rounds", "round", "error")
"""Columns of the tables that are no axis and no figure."""


class StudyConfig(Section):
    """A base experiment is run once for each point of the grid, or each cell, and each seed.

    Each entry of `grid` is an axis: a dotted config key with the list of its values, or a word with a table of named
    variants, each of which sets several keys together.
    """

    name: str = Field(description="name of the study's folder")
    base: str = Field(description="the experiment's TOML file; a relative path starts at the study file")
    output: str = Field("runs", description="folder in which the study's folder is made")
    seeds: tuple[int, ...] = Field((0,), min_length=1, strict=False, description="every point is run with each of them")
    test: Literal["t", "wilcoxon"] = Field("t", description="paired test over seeds, of points that differ in one axis")
    fixed: Settings = Field({}, description="config keys that are the same in all cells")
    grid: dict[str, list[Any] | dict[str, Settings]] = Field({}, description="axes, all combinations of which are run")
    cells: tuple[Settings, ...] = Field((), strict=False, description="instead of a grid: the points one by one")

    @field_validator("name")
    @classmethod
    def _one_path_part(cls, value: str) -> str:
        if not value or Path(value).name != value or value == ".." or "\0" in value:
            raise ValueError("a single folder name without separators")
        return value

    @field_validator("seeds")
    @classmethod
    def _different_seeds(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value):
            raise ValueError("each seed once")
        return value

    @field_validator("grid", mode="before")
    @classmethod
    def _axes(cls, value: Any) -> Any:
        for axis, entries in value.items() if isinstance(value, dict) else ():
            _check_axis(axis, entries)
        return value

    @model_validator(mode="after")
    def _possible(self) -> StudyConfig:
        if self.grid and self.cells:
            raise ValueError("either [grid] or [[cells]], not both")
        for settings in _all_settings(self):
            _check_keys(settings)
        return self


def _check_axis(axis: str, entries: Any) -> None:
    if axis in COLUMNS:
        raise ValueError(f"{axis}: another word; the tables have a column of that name")
    if isinstance(entries, dict) and axis in ExperimentConfig.model_fields:
        raise ValueError(f'{axis} is a section: put dotted keys in quotes, as in "{axis}.{next(iter(entries), "key")}"')
    if isinstance(entries, dict) and "." in axis:
        raise ValueError(f"{axis}: a list of values; named variants belong to an axis whose name has no dot")
    if not isinstance(entries, list | dict):
        raise ValueError(f"{axis}: a list of values, or a table of named variants; a single value belongs in [fixed]")  # noqa: TRY004 (pydantic wants this one)
    if not entries:
        raise ValueError(f"{axis}: at least one value")
    if isinstance(entries, list) and any(entry in entries[:index] for index, entry in enumerate(entries)):
        raise ValueError(f"{axis}: each value once")


def _all_settings(study: StudyConfig) -> Iterable[Settings]:
    yield study.fixed
    yield from study.cells
    for axis, entries in study.grid.items():
        if isinstance(entries, list):
            yield {axis: entries[0]}
        else:
            yield from entries.values()


def _check_keys(settings: Settings, prefix: str = "") -> None:
    """Refuse what the study itself decides."""
    for key, value in settings.items():
        path = f"{prefix}{key}"
        if any(path == decided or path.startswith(f"{decided}.") for decided in _DECIDED_HERE):
            how = "list seeds in `seeds`" if path == "run.seed" else "a study decides it for all cells"
            raise ValueError(f"{path} cannot be set here: {how}")
        if isinstance(value, dict):
            _check_keys(value, f"{path}.")
