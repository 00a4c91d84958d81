"""A study from the command line: run it, make its tables, and say what came of it; or say what would run."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.console import Console

from fedkd.config.experiment import RayConfig
from fedkd.reporting.formatting import duration
from fedkd.study.cells import Study
from fedkd.study.folder import StudyFolder
from fedkd.study.outputs import write_outputs
from fedkd.study.points import word
from fedkd.study.progress import StudyProgress, estimate_seconds
from fedkd.study.runner import pending_cells, run_study


def run_and_report(study: Study, ray: RayConfig, out: Console, err: Console, *, retry_failed: bool) -> list[str]:
    """Run what is left of a study, write its tables and say where they are.

    Returns:
        One line for each cell that failed, now or before.
    """
    with StudyProgress(err) as progress:
        outcomes = run_study(study, ray, progress, retry_failed=retry_failed)
        page = write_outputs(study, outcomes)
    ended = [outcomes[cell.name] for cell in study.cells if cell.name in outcomes]
    failed = [f"failed: {outcome.cell}: {outcome.error}" for outcome in ended if outcome.state == "failed"]
    if not err.quiet:
        done = len(ended) - len(failed)
        text = f"{done} of {len(study.cells)} cells done, {len(failed)} failed; page: {page}"
        out.print(text, highlight=False, markup=False, soft_wrap=True)
    return failed


def dry_run_lines(study: Study, workers: int, *, retry_failed: bool) -> Iterator[str]:
    """Yield what a study would run, and how long that might take. Writes nothing.

    Raises:
        StudyError: the folder holds another study.
        RunFolderError: the folder cannot be read.
    """
    folder = StudyFolder(study.folder)
    folder.check(study)
    outcomes = folder.read_outcomes(study)
    pending = pending_cells(study, outcomes, retry_failed=retry_failed)
    failed = sum(outcome.state == "failed" for outcome in outcomes.values())
    started = sum(folder.started(cell.name) for cell in pending)
    yield f"{len(study.cells)} cells: {len(outcomes) - failed} done, {failed} failed, {len(pending)} to run"
    if started:
        yield f"{started} of those to run go on from where they were stopped"
    for axis in study.axes:
        values = dict.fromkeys(word(cell.point[axis]) for cell in study.cells)
        yield f"{axis}: {', '.join(values)}"
    yield f"seeds: {', '.join(map(str, study.config.seeds))}"
    at_a_time = min(workers or os.cpu_count() or 1, len(pending))
    if not pending:
        return
    seconds = estimate_seconds(study, outcomes, pending, at_a_time)
    if seconds is None:
        yield "time: unknown; it is measured on cells that are done, and there is none yet"
    else:
        yield f"time: about {duration(seconds)} with {at_a_time} at a time, after the cells that are done"
