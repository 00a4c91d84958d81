"""The choice of a temperature: a table for the terminal, what the report says of it, a plot."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table
from rich.text import Text

from fedkd.records import RunRecord, TemperatureChoice, TemperatureTrial
from fedkd.reporting.formatting import MISSING, number, percent
from fedkd.reporting.lines import Axis, Line, line_plot
from fedkd.reporting.plot import Plot, stroke
from fedkd.reporting.text_table import TextTable
from fedkd.storage.files import naming_failures, write_atomically

HEAD = (
    "T",
    "alpha",
    "accuracy",
    "loss",
    "agreement",
    "KL to teacher",
    "entropy",
    "right, teacher right",
    "right, teacher wrong",
    "agrees, teacher wrong",
    "verdict",
)


def temperature_rows(choice: TemperatureChoice) -> list[tuple[str, ...]]:
    """Return a row for each trial, under `HEAD`."""
    return [
        (
            f"{trial.temperature:g}",
            f"{trial.alpha:g}",
            percent(trial.accuracy, 2),
            number(trial.loss),
            percent(trial.agreement, 2),
            number(trial.divergence),
            number(trial.entropy),
            percent(trial.accuracy_teacher_right),
            percent(trial.accuracy_teacher_wrong),
            percent(trial.agreement_teacher_wrong),
            trial.verdict,
        )
        for trial in choice.trials
    ]


def temperature_table(choice: TemperatureChoice) -> Table:
    """Return the trials as a table for the terminal; columns that need labels are left out without them."""
    shown = _trials(choice)
    table = Table(title=Text(f"{choice.samples} held-out samples"), title_justify="left")
    for name, kind in zip(shown.head, shown.kinds, strict=True):
        table.add_column(name, justify="right" if kind == "n" else "left")
    for row in shown.rows:
        table.add_row(*row, style="bold" if row[-1] == "chosen" else "")
    return table


def temperature_choices(run: RunRecord) -> list[tuple[int, TemperatureChoice]]:
    """Return the rounds in which the server chose, and what it chose."""
    return [(each.server_round, each.temperature_choice) for each in run.history if each.temperature_choice is not None]


@dataclass(frozen=True)
class TemperatureSummary:
    """What the report says of the temperatures that the server chose.

    Args:
        server_round: of the last choice.
        lines: the last choice, why it was made, and what else its trials show.
        caption: of the table of trials.
        trials: of the last choice; columns that need labels are left out without them.
        chosen: index of the row of the trial that was chosen.
        earlier: the choices of the rounds before.
    """

    server_round: int
    lines: list[str]
    caption: str
    trials: TextTable
    chosen: int
    earlier: TextTable


def temperature_summary(run: RunRecord) -> TemperatureSummary | None:
    """Sum up what the server chose and why; `None` where it did not choose."""
    choices = temperature_choices(run)
    if not choices:
        return None
    server_round, last = choices[-1]
    trials = _trials(last)
    earlier = tuple(
        (str(number), f"{each.temperature:g}", f"{each.alpha:g}", each.why) for number, each in choices[:-1]
    )
    return TemperatureSummary(
        server_round=server_round,
        lines=temperature_lines(last),
        caption=f"Round {server_round}: {last.samples} held-out samples",
        trials=trials,
        chosen=next(index for index, row in enumerate(trials.rows) if row[-1] == "chosen"),
        earlier=TextTable(("Round", "T", "alpha", "Why"), earlier, "nnnt"),
    )


def _trials(choice: TemperatureChoice) -> TextTable:
    """The trials without the columns that need labels, where there are no labels."""
    rows = temperature_rows(choice)
    kept = [column for column in range(len(HEAD)) if choice.labelled or any(row[column] != MISSING for row in rows)]
    shown = tuple(tuple(row[column] for column in kept) for row in rows)
    return TextTable(tuple(HEAD[column] for column in kept), shown, "n" * (len(kept) - 1) + "t")


def temperature_lines(choice: TemperatureChoice) -> list[str]:
    """Return the choice, why it was made, and what else the trials show."""
    chosen = f"chosen: T = {choice.temperature:g}, alpha = {choice.alpha:g}: {choice.why}"
    teacher = f"teacher: entropy {choice.teacher_entropy:.3f} nats"
    if choice.teacher_accuracy is not None:
        teacher += f", accuracy {percent(choice.teacher_accuracy, 2)}"
    return [chosen, teacher, *choice.notes]


def temperature_plot(choice: TemperatureChoice) -> Plot:
    """Draw accuracy, agreement and entropy (as a share of the largest possible) against T, at the chosen alpha."""
    trials = sorted((t for t in choice.trials if t.alpha == choice.alpha), key=lambda trial: trial.temperature)
    measures: dict[str, Callable[[TemperatureTrial], float | None]] = {
        "accuracy": lambda trial: trial.accuracy,
        "agreement": lambda trial: trial.agreement,
        "entropy, of log C": lambda trial: trial.entropy / math.log(choice.classes),
        "right, teacher right": lambda trial: trial.accuracy_teacher_right,
        "right, teacher wrong": lambda trial: trial.accuracy_teacher_wrong,
    }
    lines = [
        Line(f"measure-{index}", name, range(len(trials)), [_percentage(of(trial)) for trial in trials], stroke(index))
        for index, (name, of) in enumerate(measures.items())
    ]
    x = Axis("temperature", "{:g}".format, names=tuple(f"{trial.temperature:g}" for trial in trials))
    y = Axis("share (%)", "{:.1f} %".format)
    spoken = f"Students distilled at {len(trials)} temperatures. Chosen: T = {choice.temperature:g}: {choice.why}."
    return line_plot("plot-temperature", "Students by temperature", spoken, lines, x, y, most=100)


def write_choice(choice: TemperatureChoice, folder: Path) -> tuple[Path, Path]:
    """Write `temperature.json` and `temperature.svg` into a folder, which is made where it is missing.

    Raises:
        RunFolderError: the folder cannot be made or written.
    """
    with naming_failures("make", folder):
        folder.mkdir(parents=True, exist_ok=True)
    record, plot = folder / "temperature.json", folder / "temperature.svg"
    write_atomically(record, choice.model_dump_json(indent=2).encode())
    write_atomically(plot, temperature_plot(choice).svg.encode())
    return record, plot


def _percentage(share: float | None) -> float | None:
    return None if share is None else 100 * share
