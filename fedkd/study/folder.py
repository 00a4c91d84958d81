"""The study's folder: a copy of the study, run folders, what became of each cell, and what is made of it all.

study.toml            the study file, as it was given
plan.json             the cells and their resolved experiments
cells/<name>/         run folders; their baselines are shared in cells/.baselines/
outcomes/<name>.json  how a cell ended; written when it has
results.csv  results.parquet  rounds.csv  rounds.parquet  seconds.csv
summary.md  plots/*.svg  study.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.errors import StudyError
from fedkd.records import Record
from fedkd.reporting.settings import flat
from fedkd.storage.files import locked, naming_failures, read_bytes, read_json_object, read_record, write_atomically
from fedkd.study.cells import CELLS_FOLDER, Study

LOCKS_FOLDER = ".locks"
"""In the folder of run folders; a cell is run by one process at a time."""


class CellOutcome(Record):
    """How a cell ended. `seconds` are those of its last start; `resumed` says that an earlier one did part of it."""

    cell: str
    state: Literal["done", "failed"]
    error: str = ""
    seconds: float = 0.0
    resumed: bool = False


class StudyFolder:
    """Reads and writes the folder of one study. Every method raises `RunFolderError` where the folder does not let it.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells_path = path / CELLS_FOLDER
        self.outcomes_path = path / "outcomes"
        self.plan_path = path / "plan.json"
        self.copy_path = path / "study.toml"
        self.plots_path = path / "plots"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep other processes from running the same study while the block runs.

        Raises:
            RunFolderError: another process is at it.
        """
        with naming_failures("make the folder", self.path):
            for folder in (self.cells_path / LOCKS_FOLDER, self.outcomes_path, self.plots_path):
                folder.mkdir(parents=True, exist_ok=True)
        with locked(self.path, self.path / ".lock", patience=0):
            yield

    def check(self, study: Study) -> None:
        """Refuse a study that changes or lacks a cell of the one that the folder was made for.

        Raises:
            StudyError: names the cell, and the key that differs.
        """
        if not self.plan_path.is_file():
            return
        cells = {cell.name: cell.config for cell in study.cells}
        for name, values in read_json_object(self.plan_path).items():
            before, now = parse_config(values), cells.get(name)
            if now is None:
                difference = f"cell {name} is no longer in {study.path}"
            elif now != before:
                difference = f"cell {name} has {_first_difference(before, now)} in {study.path}"
            else:
                continue
            raise StudyError(f"{self.path} holds another study: {difference}; only cells can be added. Name it anew")

    def write_plan(self, study: Study) -> None:
        """Keep a copy of the study, and of the experiments that it came to."""
        write_atomically(self.copy_path, read_bytes(study.path))
        plan = {cell.name: cell.config.model_dump(mode="json") for cell in study.cells}
        write_atomically(self.plan_path, json.dumps(plan, indent=1).encode())

    def write_outcome(self, outcome: CellOutcome) -> None:
        """Write how a cell ended."""
        write_atomically(self.outcomes_path / f"{outcome.cell}.json", outcome.model_dump_json().encode())

    def read_outcomes(self, study: Study) -> dict[str, CellOutcome]:
        """Return how cells ended, by name; those that have not are missing."""
        paths = {cell.name: self.outcomes_path / f"{cell.name}.json" for cell in study.cells}
        return {name: read_record(path, CellOutcome) for name, path in paths.items() if path.is_file()}

    def started(self, name: str) -> bool:
        """Whether a cell has a run folder that it can go on from."""
        return (self.cells_path / name / "config.toml").is_file()

    def write(self, name: str, content: bytes) -> Path:
        """Write a file of the study and return its path."""
        path = self.path / name
        write_atomically(path, content)
        return path


def _first_difference(before: ExperimentConfig, now: ExperimentConfig) -> str:
    old, new = flat(before.model_dump(mode="json")), flat(now.model_dump(mode="json"))
    key = next(key for key in (*old, *new) if old.get(key) != new.get(key))
    return f"{key} = {old.get(key)} there and {new.get(key)}"
