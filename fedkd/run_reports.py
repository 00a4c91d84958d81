"""Run folders after the fact: read one, sum it up, write its report, compare several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

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
    return store, summarise(store, parse_recorded(store.read_config()), store.read_rounds(), Baselines())


def write_report(store: RunStore, record: RunRecord, output: Path | None = None) -> Path:
    """Write the plots of a run, and its report: `report.html` in its folder, or `output`; returns the report's path."""
    reported = _reported(store, record)
    plots = run_plots(record, reported.partition)
    write_plots(store, plots)
    page = render_report(reported, plots)
    if output is None:
        return store.write_report(page)
    write_atomically(output, page.encode())
    return output


def write_comparison(paths: Iterable[Path], output: Path) -> list[RunRecord]:
    """Write the comparison of runs, finished or not, as one HTML file; returns the runs.

    Raises:
        RunFolderError: a folder is not a run's, or is damaged; the file cannot be written.
    """
    runs = [read_run(path) for path in paths]
    write_atomically(output, render_comparison([_reported(*each) for each in runs]).encode())
    return [record for _, record in runs]


def _reported(store: RunStore, record: RunRecord) -> ReportedRun:
    config = store.read_config()
    kind: dict[str, Any] = {"teacher": {}} if "teacher" in config else {}
    defaults = parse_recorded({**kind, "method": {"name": record.method}}).model_dump(mode="json")
    partition = store.read_partition() if store.partition_path.is_file() else None
    return ReportedRun(record, config, store.read_environment(), partition, defaults)
