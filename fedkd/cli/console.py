"""What a person sees in the terminal: progress on standard error, results on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fedkd.config.experiment import ExperimentConfig
from fedkd.data.config import PARTITION_KINDS
from fedkd.data.sources import available_sources
from fedkd.errors import ConfigError
from fedkd.experiment import RunObserver
from fedkd.federation.workspace import open_workspace
from fedkd.methods import available_methods
from fedkd.models.registry import available_models
from fedkd.records import PartitionRecord, Refusal, RoundRecord, RunRecord, TemperatureChoice
from fedkd.reporting import cost_table, partition_plot, result_table, round_line
from fedkd.reporting.temperature import temperature_lines, temperature_table
from fedkd.storage.files import naming_failures
from fedkd.types import SampleShape, TextShape


class ProgressBar(RunObserver):
    """A bar over rounds, advancing with every reply, and a line for each finished round.

    Args:
        console: where to draw; no bar is drawn where it is not a terminal, lines are.
    """

    def __init__(self, console: Console) -> None:
        self._folder: Path | None = None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_interactive,
        )
        self._task = self._progress.add_task("starting", total=None)

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def _print(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)

    @property
    def interrupted(self) -> str:
        """What to say to a person who has interrupted the run."""
        if self._folder is None:
            return "interrupted; no round was begun"
        return f"interrupted; finished rounds are kept; continue with: fedkd simulate --resume {self._folder}"

    def on_folder(self, path: Path, rounds: int) -> None:
        """Remember where the run lies."""
        self._folder = path
        self._progress.update(self._task, description="meeting clients", total=rounds)

    def on_clients(self, clients: Sequence[int], refused: Sequence[Refusal]) -> None:
        """Name the clients that were refused."""
        self._print(f"{len(clients)} clients take part")
        for refusal in refused:
            self._print(f"refused client {refusal.client}: {refusal.detail}")

    def on_reply(self, server_round: int, replies: int, expected: int) -> None:
        """Advance within the round; the last tenth of it is the server's."""
        done = server_round - 1 + 0.9 * replies / max(expected, 1)
        self._progress.update(self._task, completed=done, description=f"round {server_round}: client {replies}")

    def on_phase(self, server_round: int, phase: str) -> None:
        """Say what the server does."""
        self._progress.update(self._task, description=f"round {server_round}: {phase}")

    def on_round(self, record: RoundRecord) -> None:
        """Print the round, and name every refused reply."""
        self._progress.update(self._task, completed=record.server_round)
        self._print(round_line(record))
        for refusal in record.refused:
            self._print(f"  refused client {refusal.client}: {refusal.detail}")
        if not record.completed:
            self._print("  too few usable replies: the old student stays")

    def on_baselines(self, what: str, done: int, total: int) -> None:
        """Show the training of the baselines."""
        self._progress.update(self._task, description=f"baselines: {what}", completed=done, total=total)


def print_results(records: Sequence[RunRecord], report: Path, console: Console) -> None:
    """Print what runs reached and cost, and where their report lies."""
    for record in records:
        console.print(result_table(record), cost_table(record))
    console.print(f"report: {report}", highlight=False, markup=False, soft_wrap=True)


def print_choice(choice: TemperatureChoice, written: Sequence[Path], console: Console) -> None:
    """Print the trials of a temperature grid, what was chosen and why, and where that was written."""
    console.print(temperature_table(choice))
    for line in [*temperature_lines(choice), *(f"written: {path}" for path in written)]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def partition_lines(partition: PartitionRecord) -> list[str]:
    """How the private samples lie over the clients, in words and numbers."""
    lines = [partition.description]
    lines += [f"{name.replace('_', ' ')}: {value:.3f}" for name, value in partition.skew.items()]
    width = max(len(str(count)) for row in partition.counts for count in row)
    for client, row in enumerate(partition.counts):
        cells = " ".join(f"{count:>{width}}" for count in row)
        lines.append(f"client {client:>3}: {cells}  ({sum(row)} samples)")
    return lines


def data_lines(config: ExperimentConfig, plot: Path | None) -> list[str]:
    """An experiment's data in words; draws the partition into `plot` where that is given."""
    data = open_workspace(config).data
    partition = data.partition_record
    if plot is not None:
        if partition is None:
            raise ConfigError("--plot", str(plot), "nothing to draw: each client's samples are its own")
        with naming_failures("write", plot):
            plot.write_text(partition_plot(partition).svg, encoding="utf-8")
    return [
        f"source {config.data.source}: {_described(data.input_shape)}, "
        f"{data.num_classes} classes ({', '.join(data.class_names)})",
        f"private: {len(data.train)} samples over {config.clients.number} clients" if partition else "private: unknown",
        f"public: {len(data.public_inputs)} samples, digest {data.public_digest}",
        f"test: {len(data.test)} samples",
        *(partition_lines(partition) if partition else ()),
    ]


def _described(shape: SampleShape) -> str:
    if isinstance(shape, TextShape):
        return f"texts of {shape.length} tokens out of {shape.vocabulary}, learned from the public set"
    return f"images {'x'.join(str(size) for size in shape)}"


def available_lines() -> list[str]:
    """What an experiment can choose from."""
    return [
        f"sources: {', '.join(available_sources())}; or huggingface:<dataset id>, or package.module:factory",
        f"partitions: {', '.join(PARTITION_KINDS)}; or package.module:function",
        f"models: {', '.join(available_models())}; or package.module:factory",
        f"methods: {', '.join(available_methods())}; or package.module:builder",
    ]
