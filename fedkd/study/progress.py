"""A study in the terminal: a bar over cells, a line for each that ends, and an estimate from measured seconds."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from fedkd.reporting.formatting import duration
from fedkd.study.cells import Cell, Study
from fedkd.study.folder import CellOutcome
from fedkd.study.runner import StudyObserver


def estimate_seconds(
    study: Study, outcomes: Mapping[str, CellOutcome], pending: Sequence[Cell], workers: int
) -> float | None:
    """Return the seconds that the pending cells will take, from measured ones; `None` while nothing is measured.

    A cell is taken to last as long as the cells of its point did on average, or else as all cells did. Cells that were
    resumed or failed tell nothing of a whole one.
    """
    measured: dict[tuple[object, ...], list[float]] = {}
    for cell in study.cells:
        outcome = outcomes.get(cell.name)
        if outcome is not None and outcome.state == "done" and not outcome.resumed:
            measured.setdefault(tuple(cell.point.values()), []).append(outcome.seconds)
    if not measured:
        return None
    overall = statistics.fmean(seconds for group in measured.values() for seconds in group)
    expected = [statistics.fmean(measured.get(tuple(cell.point.values()), [overall])) for cell in pending]
    return max(sum(expected) / workers, max(expected, default=0.0))


class StudyProgress(StudyObserver):
    """A bar over cells, and a line for each that ends.

    Args:
        console: where to draw; no bar is drawn where it is not a terminal, lines are.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Left(),
            console=console,
            transient=True,
            disable=not console.is_interactive,
        )
        self._task = self._progress.add_task("cells", total=None, ends=None)
        self._outcomes: dict[str, CellOutcome] = {}
        self._pending: list[Cell] = []

    def __enter__(self) -> StudyProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_start(
        self, study: Study, outcomes: Mapping[str, CellOutcome], pending: Sequence[Cell], workers: int
    ) -> None:
        """Say what there is to do."""
        self._study, self._workers = study, workers
        self._outcomes, self._pending = dict(outcomes), list(pending)
        at_a_time = "one at a time" if workers == 1 else f"{workers} at a time"
        self._print(f"{len(study.cells)} cells, {len(pending)} to run, {at_a_time}")
        self._progress.update(self._task, total=len(study.cells))
        self._update()

    def on_outcome(self, cell: Cell, outcome: CellOutcome) -> None:
        """Print how a cell ended."""
        self._outcomes[cell.name] = outcome
        self._pending = [each for each in self._pending if each.name != cell.name]
        how = duration(outcome.seconds) if outcome.state == "done" else f"failed: {outcome.error}"
        self._print(f"{cell.name}: {how}")
        self._update()

    def _update(self) -> None:
        left = estimate_seconds(self._study, self._outcomes, self._pending, self._workers)
        done = len(self._study.cells) - len(self._pending)
        self._progress.update(self._task, completed=done, ends=None if left is None else time.monotonic() + left)

    def _print(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Left(ProgressColumn):
    """The time that is left, as the study estimates it."""

    def render(self, task: Task) -> Text:
        ends = task.fields["ends"]
        if ends is None:
            return Text("time left: unknown until a cell is done")
        return Text(f"about {duration(max(0.0, ends - time.monotonic()))} left")
