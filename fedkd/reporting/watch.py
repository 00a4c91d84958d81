"""A run folder watched from outside, while another process writes it. Reads files only; loads no torch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedkd.errors import RunFolderError
from fedkd.records import RoundRecord
from fedkd.reporting.formatting import duration, percent, size, words
from fedkd.reporting.measures import ACCURACIES, LABELS, phase_seconds
from fedkd.reporting.tables import round_line
from fedkd.storage.run_store import RunStore

State = Literal["running", "training baselines", "over", "stopped"]

_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 40
_RECENT = 5


@dataclass(frozen=True)
class Progress:
    """A run at one moment.

    Args:
        name: of the run folder.
        state: `running` or `training baselines` while a process writes the folder; then `over` if all rounds are
            over, else `stopped`.
        rounds: of the whole run.
        history: the rounds that are over.
    """

    name: str
    state: State
    rounds: int
    history: Sequence[RoundRecord] = field(default_factory=tuple)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("over", "stopped")

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the last round is over, at the pace of the latest five; `None` before the first."""
        recent = self.history[-_RECENT:]
        if not recent or self.state != "running":
            return None
        pace = sum(record.seconds.total for record in recent) / len(recent)
        return pace * (self.rounds - len(self.history))


def look(store: RunStore) -> Progress:
    """Read how far a run is.

    Raises:
        RunFolderError: the folder is damaged.
    """
    being_written = store.is_being_written  # asked first: what ends between the two readings is seen the next time
    state: State
    if store.finished:
        state = "training baselines" if being_written else "over"
    else:
        state = "running" if being_written else "stopped"
    return Progress(store.path.name, state, _rounds(store), store.read_rounds())


def watch(
    store: RunStore, console: Console, interval: float = 1.0, sleep: Callable[[float], None] = time.sleep
) -> Progress:
    """Show a run until no process writes its folder any more; return its last state.

    On a terminal the picture is drawn anew in place; elsewhere each round is one line, printed once.

    Args:
        store: the run folder.
        console: where to draw.
        interval: seconds between two looks.
        sleep: waits that long.

    Raises:
        RunFolderError: the folder is damaged, or vanishes.
    """
    if not console.is_terminal:
        return _print_rounds(_looks(store, interval, sleep), console)
    with Live(console=console, auto_refresh=False) as live:
        for progress in _looks(store, interval, sleep):
            live.update(picture(progress), refresh=True)
    return progress


def _looks(store: RunStore, interval: float, sleep: Callable[[float], None]) -> Iterator[Progress]:
    while True:
        progress = look(store)
        yield progress
        if progress.has_ended:
            return
        sleep(interval)


def _print_rounds(looks: Iterator[Progress], console: Console) -> Progress:
    printed = 0
    for progress in looks:
        for record in progress.history[printed:]:
            console.print(round_line(record), highlight=False, markup=False, soft_wrap=True)
        printed = len(progress.history)
    return progress


def picture(progress: Progress) -> RenderableType:
    """Return a run as a terminal shows it: how far it is, its accuracies so far, what the last round took."""
    bar = Table.grid()  # it ends the bar's line
    bar.add_row(ProgressBar(progress.rounds, len(progress.history), width=_SPARKS))
    parts: list[RenderableType] = [Text(f"{progress.name}: {_headline(progress)}"), bar]
    if progress.history:
        parts += [_accuracies(progress.history), Text(_last_round(progress.history))]
    return Group(*parts)


def sparkline(values: Sequence[float | None], width: int = _SPARKS) -> str:
    """Return the last `width` fractions in [0, 1] as a row of blocks; a space where nothing was measured."""
    top = len(_BARS) - 1
    return "".join(" " if value is None else _BARS[min(int(value * len(_BARS)), top)] for value in values[-width:])


def _headline(progress: Progress) -> str:
    done, rounds = len(progress.history), progress.rounds
    left = progress.seconds_left
    if progress.state == "running":
        return f"round {done + 1} of {rounds}" + ("" if left is None else f", about {duration(left)} left")
    if progress.state == "training baselines":
        return f"all {rounds} rounds are over, its baselines are being trained"
    return (
        f"over, {done} of {rounds} rounds" if progress.state == "over" else f"stopped after {done} of {rounds} rounds"
    )


def _accuracies(history: Sequence[RoundRecord]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="crop")
    for measure, accuracy in ACCURACIES.items():
        values = [accuracy(record) for record in history]
        last = next((value for value in reversed(values) if value is not None), None)
        if last is not None:
            table.add_row(LABELS[measure], percent(last), sparkline(values))
    return table


def _last_round(history: Sequence[RoundRecord]) -> str:
    last = history[-1]
    phases = [
        f"{words(phase)} {duration(seconds)}" for phase, seconds in phase_seconds(last.seconds).items() if seconds
    ]
    sent = sum(record.bytes.up + record.bytes.down for record in history)
    took = sum(record.seconds.total for record in history)
    return (
        f"round {last.server_round}: {duration(last.seconds.total)} ({', '.join(phases) or 'no phase was timed'})\n"
        f"so far: {duration(took)}, {size(sent)} of payload"
    )


def _rounds(store: RunStore) -> int:
    run = store.read_config().get("run")
    rounds = run.get("rounds") if isinstance(run, dict) else None
    if not isinstance(rounds, int) or rounds < 1:
        raise RunFolderError(f"{store.config_path}: run.rounds = {rounds!r} is not allowed: a whole number above 0")
    return rounds
