"""The run folder: one run, one folder, and a fixed name for each thing in it.

    config.toml           the resolved configuration; `fedkd simulate config.toml` runs it again
    environment.json      versions, seed, public digest, start
    partition.json        how the private samples lie over the clients
    vocabulary.json       how texts become tokens, where the samples are texts
    rounds.jsonl          one round a line, on disk as soon as it is over
    run.json              the whole run, written when its rounds are over, and once more with the baselines
    student.safetensors   the global model
    arrays/               what clients sent and the teacher, by round, where `run.save` asks; see `round_arrays`
    plots/*.svg  report.html  tensorboard/
    snapshots/            what resuming needs, while rounds are left; see `snapshots`
    .lock                 locked by the process that writes the folder

Guarantees:
    - Two runs never share a folder.
    - Every file but `rounds.jsonl` is whole or absent; `rounds.jsonl` grows by whole lines (see `round_log`).
    - One process at a time writes: it holds the folder locked, and the lock ends with the process, however that ends.
    - A run that is still going, or was stopped, can be read: all but `run.json` is there as soon as it is known.
"""

from __future__ import annotations

import json
import re
import secrets
import tomllib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.errors import RunFolderError
from fedkd.records import PartitionRecord, RoundRecord, RunRecord
from fedkd.storage import round_log, tensors
from fedkd.storage.files import (
    READER_SECONDS,
    is_locked,
    locked,
    naming_failures,
    read_bytes,
    read_json_object,
    read_record,
    to_toml,
    write_atomically,
)
from fedkd.storage.round_arrays import RoundArraysStore
from fedkd.storage.snapshots import SnapshotStore


def run_name(method: str, source: str, seed: int, now: datetime) -> str:
    """Return a folder name such as `fkd-digits-s0-20260131-142530-1a2b3c`.

    The last part is random, so that two runs begun in the same second differ. Characters of `method` and `source`
    that do not belong in a file name (both may be import paths) become `_`.
    """
    return f"{_slug(method)}-{_slug(source)}-s{seed}-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"


class RunStore:
    """Reads and writes one run folder. Every method raises `RunFolderError` where the folder does not let it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_path = path / "config.toml"
        self.environment_path = path / "environment.json"
        self.partition_path = path / "partition.json"
        self.vocabulary_path = path / "vocabulary.json"
        self.rounds_path = path / "rounds.jsonl"
        self.run_path = path / "run.json"
        self.student_path = path / "student.safetensors"
        self.plots_path = path / "plots"
        self.report_path = path / "report.html"
        self.tensorboard_path = path / "tensorboard"
        self.arrays = RoundArraysStore(path / "arrays")
        self.lock_path = path / ".lock"
        self.snapshots = SnapshotStore(path / "snapshots")

    @classmethod
    def create(cls, output: Path, name: str) -> RunStore:
        """Make the folder `output/name`, and `output` where needed.

        Raises:
            RunFolderError: the folder exists already, cannot be made, or `name` is not a plain file name.
        """
        if name in {"", ".", ".."} or Path(name).name != name:
            raise RunFolderError(f"name = {name!r} is not allowed: a run folder needs a plain file name")
        path = output / name
        with naming_failures("make the folder", output):
            output.mkdir(parents=True, exist_ok=True)
        try:
            with naming_failures("make the folder", path):
                path.mkdir()
        except RunFolderError as refused:
            if isinstance(refused.__cause__, FileExistsError):
                raise RunFolderError(f"{path} exists already; two runs never share a folder") from refused.__cause__
            raise
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunStore:
        """Open an existing run folder, finished or not, for reading.

        Raises:
            RunFolderError: there is no such folder, or it holds no `config.toml`.
        """
        if not path.is_dir():
            raise RunFolderError(f"{path} is not a run folder: {'not a folder' if path.exists() else 'it is missing'}")
        store = cls(path)
        if not store.config_path.is_file():
            raise RunFolderError(f"{path} is not a run folder: {store.config_path.name} is missing")
        return store

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from writing while the block runs.

        Raises:
            RunFolderError: another process is writing, or the folder cannot be written.
        """
        return locked(self.path, self.lock_path, patience=READER_SECONDS)

    @property
    def is_being_written(self) -> bool:
        """Whether a process is writing the folder: it holds the folder locked."""
        return is_locked(self.lock_path)

    @property
    def finished(self) -> bool:
        """Whether all rounds are over: `run.json` is written then."""
        return self.run_path.is_file()

    def write_config(self, config: Mapping[str, object]) -> None:
        """Write the resolved configuration; keys that hold `None` are left out."""
        write_atomically(self.config_path, to_toml(config).encode())

    def read_config(self) -> dict[str, Any]:
        """Return the resolved configuration."""
        try:
            return tomllib.loads(read_bytes(self.config_path).decode())
        except ValueError as cause:
            raise RunFolderError(f"{self.config_path} is not TOML: {cause}") from cause

    def write_environment(self, environment: Mapping[str, object]) -> None:
        """Write what the run depended on besides its configuration: versions, seed, public digest, start."""
        try:
            content = json.dumps(environment, indent=2, ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as cause:
            raise RunFolderError(f"the environment cannot be written as JSON: {cause}") from cause
        write_atomically(self.environment_path, content.encode())

    def read_environment(self) -> dict[str, Any]:
        """Return what `write_environment` was given."""
        return read_json_object(self.environment_path)

    def write_partition(self, partition: PartitionRecord) -> None:
        """Write how the private samples lie over the clients."""
        write_atomically(self.partition_path, partition.model_dump_json().encode())

    def read_partition(self) -> PartitionRecord:
        """Return how the private samples lie over the clients."""
        return read_record(self.partition_path, PartitionRecord)

    def write_vocabulary(self, definition: str) -> None:
        """Write how texts become tokens."""
        write_atomically(self.vocabulary_path, definition.encode())

    def read_vocabulary(self) -> str:
        """Return how texts become tokens."""
        return read_bytes(self.vocabulary_path).decode()

    def append_round(self, record: RoundRecord) -> None:
        """Append one round; it is on disk when this returns."""
        round_log.append_round(self.rounds_path, record)

    def read_rounds(self) -> tuple[RoundRecord, ...]:
        """Return the complete rounds so far; a torn last line is left out and logged."""
        return round_log.read_rounds(self.rounds_path)

    def keep_rounds(self, rounds: int) -> tuple[RoundRecord, ...]:
        """Forget what came after the first `rounds` rounds, their arrays too, and return those rounds."""
        self.arrays.keep(rounds)
        return round_log.keep_rounds(self.rounds_path, rounds)

    def write_run(self, run: RunRecord) -> None:
        """Write the whole run. From now on it counts as finished."""
        write_atomically(self.run_path, run.model_dump_json(indent=2).encode())

    def read_run(self) -> RunRecord:
        """Return the whole run; raises where it is still going, and says how far it is."""
        if not self.finished:
            so_far = len(self.read_rounds())
            raise RunFolderError(f"{self.run_path} is missing: the run is still going or was stopped; rounds: {so_far}")
        return read_record(self.run_path, RunRecord)

    def write_student(self, arrays: Mapping[str, npt.NDArray[np.generic]], metadata: Mapping[str, str]) -> None:
        """Write the global model's arrays by name, and a few words about it."""
        write_atomically(self.student_path, tensors.pack(arrays, metadata))

    def read_student(self) -> dict[str, npt.NDArray[np.generic]]:
        """Return the global model's arrays by name."""
        return tensors.unpack(self.student_path)

    def read_student_metadata(self) -> dict[str, str]:
        """Return the words that were written beside the global model."""
        return tensors.unpack_metadata(self.student_path)

    def write_plot(self, name: str, svg: str) -> Path:
        """Write `plots/<name>.svg` and return its path."""
        with naming_failures("make the folder", self.plots_path):
            self.plots_path.mkdir(exist_ok=True)
        path = self.plots_path / f"{name}.svg"
        write_atomically(path, svg.encode())
        return path

    def write_report(self, html: str) -> Path:
        """Write `report.html` and return its path."""
        write_atomically(self.report_path, html.encode())
        return self.report_path


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip(".")
