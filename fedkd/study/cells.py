"""From a study file to its cells: every point with every seed, each a whole, checked experiment."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedkd.config.errors import config_error, read_toml
from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.errors import ConfigError, StudyError
from fedkd.study.config import Settings, StudyConfig
from fedkd.study.points import Point, cell_names, expand, readable

CELLS_FOLDER = "cells"


@dataclass(frozen=True)
class Cell:
    """One experiment of a study. Its configuration writes into `CELLS_FOLDER`, relative to the study's folder."""

    point: Point
    seed: int
    config: ExperimentConfig

    @property
    def name(self) -> str:
        """Name of the cell and of its run folder."""
        return self.config.run.name


@dataclass(frozen=True)
class Study:
    """A study file, and the cells it stands for, seeds varying fastest."""

    path: Path
    config: StudyConfig
    cells: tuple[Cell, ...]

    @property
    def axes(self) -> list[str]:
        """What varies, seeds apart, in the order of the file."""
        return list(self.cells[0].point)

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return Path(self.config.output) / self.config.name


def load_study(path: Path, output: Path | None = None) -> Study:
    """Read a study file and check all its cells; nothing is run or written.

    Args:
        path: the TOML file.
        output: folder in which the study's folder is made, instead of the file's own `output`.

    Raises:
        StudyError: a key or value of the file or of one of its cells is not allowed; names file, cell and key.
    """
    try:
        values = read_toml(path, "STUDY")
        config = _parsed(values if output is None else values | {"output": str(output)})
        base = read_toml(path.parent / config.base, "base")
    except ConfigError as cause:
        raise StudyError(f"{path}: {cause}") from cause
    points = list(expand(config))
    axes = list(dict.fromkeys(axis for point, _ in points for axis in point))
    names = cell_names([point for point, _ in points], config.seeds)
    cells = []
    for name, ((point, settings), seed) in zip(names, itertools.product(points, config.seeds), strict=True):
        try:
            experiment = _experiment(base, (config.fixed, settings), seed, name)
        except ConfigError as cause:
            raise StudyError(f"{path}, cell {name}: {cause}") from cause
        cells.append(Cell(_full(point, axes, experiment), seed, experiment))
    _check_different(path, cells)
    return Study(path, config, tuple(cells))


def _parsed(values: Mapping[str, Any]) -> StudyConfig:
    try:
        return StudyConfig.model_validate(values)
    except ValidationError as cause:
        raise config_error(cause, StudyConfig) from cause


def _experiment(base: Mapping[str, Any], changes: Sequence[Settings], seed: int, name: str) -> ExperimentConfig:
    values = copy.deepcopy(dict(base))
    ours = {"run.seed": seed, "run.name": name, "run.output": CELLS_FOLDER, "run.engine": "local"}
    for settings in (*changes, ours):
        for key, value in settings.items():
            _put(values, key, value)
    return parse_config(values)


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested tables; a table is merged into the one that is there."""
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(key, value, f"a key of a section; {section} is a value")
    if isinstance(value, dict) and isinstance(values.setdefault(last, {}), dict):
        for inner, entry in value.items():
            _put(values[last], inner, entry)
    else:
        values[last] = copy.deepcopy(value)


def _full(point: Point, axes: Sequence[str], experiment: ExperimentConfig) -> Point:
    """The point on all axes; where a cell does not set a key, what its experiment resolves it to."""
    resolved = experiment.model_dump(mode="json")
    return {axis: point[axis] if axis in point else readable(look_up(resolved, axis)) for axis in axes}


def look_up(values: Any, key: str) -> Any:
    """Return the value of a dotted key in nested tables, or `None` where there is none."""
    for part in key.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _check_different(path: Path, cells: Sequence[Cell]) -> None:
    seen: dict[str, str] = {}
    for cell in cells:
        run = cell.config.run.model_copy(update={"name": ""})
        twin = seen.setdefault(cell.config.model_copy(update={"run": run}).model_dump_json(), cell.name)
        if twin != cell.name:
            raise StudyError(f"{path}: cells {twin} and {cell.name} are the same experiment")
