"""One experiment: run the federation that a configuration describes, and leave a run folder behind."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from fedkd._version import __version__
from fedkd.config import ExperimentConfig, parse_config
from fedkd.federation.bounds_cache import cached_bounds
from fedkd.federation.observers import Observer, Observers
from fedkd.federation.server_app import FederationResult
from fedkd.federation.simulation import simulate
from fedkd.federation.workspace import Workspace, open_workspace
from fedkd.records import (
    Bounds,
    ClientScores,
    PartitionRecord,
    RoundRecord,
    RunRecord,
    Seconds,
    StudentScore,
    TeacherScore,
    Traffic,
)
from fedkd.reporting import RunStore, TensorBoardWriter, render_report, run_name, write_plots

Federate = Callable[[ExperimentConfig, Observer], FederationResult]
"""Runs the federation of an experiment, on whatever grid, and tells the observer."""


class RunObserver(Observer):
    """Hears also of the run folder, before the first round, and of the training of the bounds."""

    def on_folder(self, path: Path) -> None:
        """The run folder is there."""

    def on_bounds(self, what: str, done: int, total: int) -> None:
        """The bounds are being trained: of `what`, `done` of `total` are."""


class _Recorder(Observer):
    """Writes every round to disk as soon as it is over."""

    def __init__(self, store: RunStore, events: TensorBoardWriter) -> None:
        self._store, self._events = store, events

    def on_round(self, record: RoundRecord) -> None:
        self._store.append_round(record)
        self._events.write(record)


def run(config: ExperimentConfig, observer: RunObserver | None = None, federate: Federate = simulate) -> RunRecord:
    """Run one experiment.

    Args:
        config: what to run; see `fedkd.config.load_config`.
        observer: told of progress; nobody is by default.
        federate: runs the federation; on the engine that the configuration names by default.

    Returns:
        What was reached; the same is in `run.json` of the run folder, beside the student and the report.

    Raises:
        DataError: the data cannot be read or partitioned as asked.
        ModelError: a model cannot be imported or does not fit the data.
        RunFolderError: the run folder cannot be made or written.
        RoundError: too few clients can take part, or no round was completed.
    """
    observer = observer or RunObserver()
    workspace = open_workspace(config)
    for name in {*config.clients.models, config.student.model}:
        workspace.build_model(name, seed=config.run.seed)  # refuses what does not fit before a folder is made
    store = _open_folder(config, workspace)
    observer.on_folder(store.path)
    with TensorBoardWriter(store.tensorboard_path) as events:
        result = federate(config, Observers([_Recorder(store, events), observer]))
    if result.student is not None:
        input_shape = "x".join(str(size) for size in workspace.data.input_shape)
        metadata = {"model": config.student.model, "input_shape": input_shape, "fedkd": __version__}
        store.write_student(result.student, metadata)
    record = summarise(store, config, result.history, Bounds())
    store.write_run(record)
    if config.run.bounds:
        record = record.model_copy(update={"bounds": cached_bounds(config, workspace, observer.on_bounds)})
        store.write_run(record)
    write_report(store, record)
    return record


def summarise(store: RunStore, config: ExperimentConfig, history: Sequence[RoundRecord], bounds: Bounds) -> RunRecord:
    """Sum up a run: each score from the last completed round that has it, traffic and seconds of all rounds."""
    completed = [record for record in history if record.completed]
    return RunRecord(
        run_dir=str(store.path),
        method=config.method.name,
        seed=config.run.seed,
        rounds=config.run.rounds,
        student=next((r.student for r in reversed(completed) if r.student.accuracy is not None), StudentScore()),
        ensemble_teacher=next(
            (r.ensemble_teacher for r in reversed(completed) if r.ensemble_teacher.accuracy is not None), TeacherScore()
        ),
        clients=next((r.clients for r in reversed(completed) if r.clients.mean_accuracy is not None), ClientScores()),
        bounds=bounds,
        bytes=Traffic(up=sum(r.bytes.up for r in history), down=sum(r.bytes.down for r in history)),
        seconds=Seconds(**{name: sum(getattr(r.seconds, name) for r in history) for name in Seconds.model_fields}),
        history=tuple(history),
    )


def read_run(path: Path) -> tuple[RunStore, RunRecord]:
    """Read a run folder; a run that is still going, or was stopped, is summed up as far as it came.

    Raises:
        RunFolderError: the folder is not a run's, or is damaged.
    """
    store = RunStore.open(path)
    if store.finished:
        return store, store.read_run()
    return store, summarise(store, parse_config(store.read_config()), store.read_rounds(), Bounds())


def write_report(store: RunStore, record: RunRecord) -> Path:
    """Write the plots and `report.html` of a run; returns the path of the report."""
    partition: PartitionRecord | None = store.read_partition() if store.partition_path.is_file() else None
    write_plots(store, record, partition)
    return store.write_report(render_report(record, store.read_config(), store.read_environment(), partition))


def _open_folder(config: ExperimentConfig, workspace: Workspace) -> RunStore:
    now = datetime.now(UTC)
    name = config.run.name or run_name(config.method.name, config.data.source, config.run.seed, now)
    store = RunStore.create(Path(config.run.output), name)
    store.write_config(config.model_dump(mode="json"))
    store.write_partition(workspace.data.partition_record)
    store.write_environment(
        {
            "started": now.isoformat(timespec="seconds"),
            "seed": config.run.seed,
            "public_digest": workspace.data.public_digest,
            "device": str(workspace.device),
            "platform": platform.platform(),
            "versions": {"fedkd": __version__, "python": platform.python_version()}
            | {name: importlib.metadata.version(name) for name in ("torch", "flwr", "flwr-datasets", "numpy")},
        }
    )
    return store
