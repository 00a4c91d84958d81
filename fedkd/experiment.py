"""One experiment: run the federation that a configuration describes, and leave a run folder behind."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import logging
import platform
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedkd._version import __version__
from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig, apply_override, parse_config
from fedkd.data.config import SITES
from fedkd.engines.simulation import simulate
from fedkd.errors import ConfigError, DataError
from fedkd.federation.answers import RoundArrays
from fedkd.federation.baselines_cache import cached_baselines
from fedkd.federation.checkpoints import Checkpoints
from fedkd.federation.model_checks import check_models
from fedkd.federation.observers import Observer, Observers
from fedkd.federation.references import compose_method
from fedkd.federation.server_app import FederationResult
from fedkd.federation.workspace import Workspace, open_workspace
from fedkd.offline import OfflineConfig, RecordedConfig, open_offline
from fedkd.parts import build_part
from fedkd.records import Baselines, RoundRecord, RunRecord
from fedkd.reporting import RunStore, TensorBoardWriter, run_name
from fedkd.run_reports import summarise, write_report
from fedkd.storage.round_arrays import RoundArraysStore

logger = logging.getLogger(__name__)

Federate = Callable[[ExperimentConfig, Observer, Checkpoints], FederationResult]
"""Runs the federation of an experiment, on whatever grid, tells the observer, and goes on from the checkpoints where
it can.
"""


class RunObserver(Observer):
    """Hears also of the run folder, before the first round, and of the training of the baselines."""

    def on_folder(self, path: Path, rounds: int) -> None:
        """The run folder is there; the run has this many rounds."""

    def on_baselines(self, what: str, done: int, total: int) -> None:
        """The baselines are being trained: of `what`, `done` of `total` are."""


class _Recorder(Observer):
    """Writes every round to disk as soon as it is over."""

    def __init__(self, store: RunStore, events: TensorBoardWriter) -> None:
        self._store, self._events = store, events

    def on_round(self, record: RoundRecord) -> None:
        self._store.append_round(record)
        self._events.write(record)


class _ArraySaver(Observer):
    """Keeps those arrays of a round that `run.save` asks for, before the round is recorded."""

    def __init__(self, store: RoundArraysStore, saved: Collection[str]) -> None:
        self._store, self._saved = store, saved

    def on_arrays(self, server_round: int, arrays: RoundArrays) -> None:
        if "rows" in self._saved:
            self._store.write_rows(server_round, arrays.client_rows)
        if "teacher" in self._saved and arrays.teacher is not None:
            self._store.write_teacher(server_round, arrays.teacher)
        if "clients" in self._saved:
            self._store.write_clients(server_round, arrays.client_weights)


class _RunObservers(Observers, RunObserver):
    """Tells several observers, in order; of the folder and the baselines those that hear of them."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        super().__init__(observers)
        self._of_the_run = [each for each in observers if isinstance(each, RunObserver)]

    def on_folder(self, path: Path, rounds: int) -> None:
        for observer in self._of_the_run:
            observer.on_folder(path, rounds)

    def on_baselines(self, what: str, done: int, total: int) -> None:
        for observer in self._of_the_run:
            observer.on_baselines(what, done, total)


def run(config: ExperimentConfig, observer: RunObserver | None = None, federate: Federate = simulate) -> RunRecord:
    """Run one experiment.

    Args:
        config: what to run; see `fedkd.config.experiment.load_config`.
        observer: told of progress, after those that `run.observers` names; nobody is by default.
        federate: runs the federation; on the engine that the configuration names by default.

    Returns:
        What was reached; the same is in `run.json` of the run folder, beside the student and the report.

    Raises:
        ConfigError: a simulation of what lies with the clients, or an observer of `run.observers` that cannot be made.
        DataError: the data cannot be read or partitioned as asked.
        ModelError: a model cannot be imported or does not fit the data.
        RunFolderError: the run folder cannot be made or written.
        EngineError: the engine cannot start, or went down.
        RoundError: too few clients can take part, or no round was completed.
    """
    _require_samples_for(federate, config)
    told = _all_observers(config, observer)
    workspace = open_workspace(config)
    check_models(config, compose_method(config.method), workspace)  # before a folder is made
    store = _create_folder(config)
    with store.locked():
        _describe(store, config, workspace)
        told.on_folder(store.path, config.run.rounds)
        return _run(store, config, told, Checkpoints(store.snapshots), federate)


def distill(config: OfflineConfig) -> RunRecord:
    """Distil a teacher into a student without a federation; leaves a run folder of one round. Raises as `run` does."""
    distillation = open_offline(config)
    store = _create_folder(config)
    with store.locked():
        _describe(store, config, distillation.workspace)
        student, reached = distillation.run()
        store.append_round(reached)
        _write_student(store, config, distillation.workspace, student)
        record = summarise(store, config, [reached], Baselines())
        store.write_run(record)
        write_report(store.path)
    return record


def resume(
    path: Path | str, observer: RunObserver | None = None, overrides: Iterable[str] = (), federate: Federate = simulate
) -> RunRecord:
    """Continue a run that was stopped, from its last snapshot. The result is the same as without the stop, bit for bit.

    Args:
        path: its run folder. A run that is finished has its baselines and report completed where they are missing.
        observer: as for `run`.
        overrides: `section.key=value`; only of keys that results do not depend on: `run.engine` and all of `[ray]`.
        federate: as for `run`.

    Raises:
        ConfigError: another key is overridden, a value is not allowed, or an observer cannot be made.
        RunFolderError: the folder is not a run's, is damaged, or another process is writing it.
        DataError: the data are not those that the run was started with.
    """
    store = RunStore.open(Path(path))
    with store.locked():
        config = parse_config(_moved(store.read_config(), overrides))
        _require_samples_for(federate, config)
        told = _all_observers(config, observer)
        workspace = open_workspace(config)
        _compare(store, workspace)
        told.on_folder(store.path, config.run.rounds)
        if store.finished:
            return _complete(store, config, store.read_run(), told)
        snapshot = store.snapshots.read_latest()
        history = store.keep_rounds(snapshot.server_round if snapshot else 0)
        return _run(store, config, told, Checkpoints(store.snapshots, snapshot, history), federate)


def _all_observers(config: ExperimentConfig, observer: RunObserver | None) -> RunObserver:
    """Those that the configuration names, and the caller's."""
    named = [build_part(part, {}, "run.observers", Observer) for part in config.run.observers]
    return _RunObservers([*named, observer or RunObserver()])


def _require_samples_for(federate: Federate, config: ExperimentConfig) -> None:
    if config.data.source == SITES and federate is simulate:
        raise ConfigError("data.source", SITES, "a source that this machine holds; sites are reached by `fedkd deploy`")


def _moved(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The same experiment in another place."""
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key != "run.engine" and not key.startswith("ray."):
            raise ConfigError("--set", override, "with --resume, only run.engine and keys of [ray]")
        apply_override(values, override)
    return values


def _run(
    store: RunStore,
    config: ExperimentConfig,
    observer: RunObserver,
    checkpoints: Checkpoints,
    federate: Federate = simulate,
) -> RunRecord:
    """Run the rounds that are left, and write what they came to."""
    with TensorBoardWriter(store.tensorboard_path, len(checkpoints.history) + 1) as events:
        own = [_ArraySaver(store.arrays, config.run.save)] if config.run.save else []
        result = federate(config, Observers([*own, _Recorder(store, events), observer]), checkpoints)
    if result.student is not None:
        _write_student(store, config, open_workspace(config), result.student)
    record = summarise(store, config, result.history, Baselines())
    store.write_run(record)
    return _complete(store, config, record, observer)


def _complete(store: RunStore, config: ExperimentConfig, record: RunRecord, observer: RunObserver) -> RunRecord:
    """Add the baselines and the report to a run whose rounds are over."""
    store.snapshots.clear()
    if config.run.baselines and record.baselines.centralised is None:
        baselines = cached_baselines(config, open_workspace(config), observer.on_baselines)
        record = record.model_copy(update={"baselines": baselines})
        store.write_run(record)
    if importlib.util.find_spec("matplotlib") is None:
        logger.warning(
            "no report: matplotlib is not installed here; elsewhere, `fedkd report %s` writes it", store.path
        )
    else:
        write_report(store.path)
    return record


def _write_student(store: RunStore, config: RecordedConfig, workspace: Workspace, student: Weights) -> None:
    input_shape = "x".join(str(size) for size in workspace.data.input_shape)
    store.write_student(student, {"model": config.student.model, "input_shape": input_shape, "fedkd": __version__})


def _create_folder(config: RecordedConfig) -> RunStore:
    name = config.run.name or run_name(config.method.name, config.data.source, config.run.seed, datetime.now(UTC))
    return RunStore.create(Path(config.run.output), name)


def _describe(store: RunStore, config: RecordedConfig, workspace: Workspace) -> None:
    """Write what the run is. The configuration comes last: where it is, all of it is, and the run can be resumed."""
    if workspace.data.partition_record is not None:
        store.write_partition(workspace.data.partition_record)
    if workspace.data.vocabulary is not None:
        store.write_vocabulary(workspace.data.vocabulary.definition)
    store.write_environment(
        {
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seed": config.run.seed,
            "public_digest": workspace.data.public_digest,
            "private_digest": workspace.data.train.digest(),
            "device": str(workspace.device),
            "platform": platform.platform(),
            "versions": _versions(),
        }
    )
    store.write_config(config.model_dump(mode="json"))


def _versions() -> dict[str, str]:
    """Versions of what is installed; an image for deployments has no partitioners."""
    found = {"fedkd": __version__, "python": platform.python_version()}
    for name in ("torch", "flwr", "flwr-datasets", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _compare(store: RunStore, workspace: Workspace) -> None:
    """Refuse to go on with other data; say where libraries differ, as then bits may."""
    environment = store.read_environment()
    for key, found in (
        ("public_digest", workspace.data.public_digest),
        ("private_digest", workspace.data.train.digest()),
    ):
        if environment.get(key) != found:
            raise DataError(f"{store.path} was started with other data: {key} {environment.get(key)}; now {found}")
    for name, version in _versions().items():
        before = environment.get("versions", {}).get(name)
        if before != version:
            logger.warning("%s was started with %s %s; this is %s: bits may differ", store.path, name, before, version)
