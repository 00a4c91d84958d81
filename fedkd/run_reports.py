"""Run folders after the fact: read one, sum it up, write its report, compare several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fedkd.errors import RunFolderError
from fedkd.federation.answers import RoundArrays
from fedkd.offline import RecordedConfig, parse_recorded
from fedkd.records import (
    Baselines,
    ClientScores,
    RoundRecord,
    RunRecord,
    Seconds,
    StudentScore,
    TeacherScore,
    Traffic,
)
from fedkd.reporting import ReportedRun, RunStore, render_comparison, render_report, run_plots, write_plots
from fedkd.storage.files import write_atomically


def summarise(
    store: RunStore, config: RecordedConfig, history: Sequence[RoundRecord], baselines: Baselines
) -> RunRecord:
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
        baselines=baselines,
        bytes=Traffic(**{name: sum(getattr(r.bytes, name) for r in history) for name in Traffic.model_fields}),
        seconds=Seconds(**{name: sum(getattr(r.seconds, name) for r in history) for name in Seconds.model_fields}),
        history=tuple(history),
    )


def read_run(run_dir: Path | str) -> RunRecord:
    """Read a run folder; a run that is still going, or was stopped, is summed up as far as it came.

    Raises:
        RunFolderError: the folder is not a run's, or is damaged.
    """
    store = RunStore.open(Path(run_dir))
    if store.finished:
        return store.read_run()
    return summarise(store, parse_recorded(store.read_config()), store.read_rounds(), Baselines())


def load_round(run_dir: Path | str, server_round: int) -> RoundArrays:
    """Read the arrays of a round that `run.save` kept; what it did not name is empty, or `None`.

    Args:
        run_dir: a run folder, finished or not.
        server_round: from 1.

    Raises:
        RunFolderError: the folder is not a run's, a file is damaged, or nothing was kept of this round.
    """
    store = RunStore.open(Path(run_dir)).arrays
    if server_round not in store.rounds:
        kept = ", ".join(map(str, store.rounds)) or "none"
        raise RunFolderError(f"{store.path} has no arrays of round {server_round}; run.save kept those of: {kept}")
    return RoundArrays(
        client_rows=store.read_rows(server_round),
        client_weights=store.read_clients(server_round),
        teacher=store.read_teacher(server_round),
        student=None,
    )


def write_report(run_dir: Path | str, output: Path | str | None = None) -> Path:
    """Write the plots of a run, finished or not, and its report.

    Args:
        run_dir: its folder.
        output: the HTML file; `report.html` in the folder by default.

    Returns:
        The path of the report.

    Raises:
        RunFolderError: the folder is not a run's, or is damaged; a file cannot be written.
    """
    store, reported = RunStore.open(Path(run_dir)), read_reported(run_dir)
    plots = run_plots(reported.run, reported.partition)
    write_plots(store, plots)
    page = render_report(reported, plots)
    if output is None:
        return store.write_report(page)
    write_atomically(Path(output), page.encode())
    return Path(output)


def write_comparison(run_dirs: Iterable[Path | str], output: Path | str) -> list[RunRecord]:
    """Write the comparison of runs, finished or not, as one HTML file; returns the runs.

    Raises:
        RunFolderError: a folder is not a run's, or is damaged; the file cannot be written.
    """
    reported = [read_reported(run_dir) for run_dir in run_dirs]
    write_atomically(Path(output), render_comparison(reported).encode())
    return [each.run for each in reported]


def read_reported(run_dir: Path | str) -> ReportedRun:
    """Read all that a report says of a run.

    Raises:
        RunFolderError: the folder is not a run's, or is damaged.
    """
    store, record = RunStore.open(Path(run_dir)), read_run(run_dir)
    config = store.read_config()
    kind: dict[str, Any] = {"teacher": {}} if "teacher" in config else {}
    defaults = parse_recorded({**kind, "method": {"name": record.method}}).model_dump(mode="json")
    partition = store.read_partition() if store.partition_path.is_file() else None
    return ReportedRun(record, config, store.read_environment(), partition, defaults)
