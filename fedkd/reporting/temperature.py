"""The choice of a temperature: a table for the terminal, a section of the report, a plot."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.table import Table
from rich.text import Text

from fedkd.records import RunRecord, TemperatureChoice, TemperatureTrial
from fedkd.reporting.elements import columns, figure, folded, paragraph, section, table
from fedkd.reporting.formatting import number, percent
from fedkd.reporting.lines import Axis, Line, line_plot
from fedkd.reporting.plot import Plot, stroke
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
    head, rows = _shown(choice)
    trials = Table(title=Text(f"{choice.samples} held-out samples"), title_justify="left")
    for name in head:
        trials.add_column(name, justify="left" if name == "verdict" else "right")
    for row in rows:
        trials.add_row(*row, style="bold" if row[-1] == "chosen" else "")
    return trials


def temperature_choices(run: RunRecord) -> list[tuple[int, TemperatureChoice]]:
    """Return the rounds in which the server chose, and what it chose."""
    return [(each.server_round, each.temperature_choice) for each in run.history if each.temperature_choice is not None]


def temperature_section(run: RunRecord, plots: Mapping[str, Plot]) -> str:
    """What the server chose and why, the last choice with its trials; empty where it did not choose."""
    choices = temperature_choices(run)
    if not choices:
        return ""
    server_round, last = choices[-1]
    head, rows = _shown(last)
    lead = next(index for index, row in enumerate(rows) if row[-1] == "chosen")
    trials = table(
        f"Round {server_round}: {last.samples} held-out samples", head, rows, "n" * (len(head) - 1) + "t", lead
    )
    said = [
        paragraph(f"Round {server_round}, {line}." if index == 0 else f"{line}.")
        for index, line in enumerate(temperature_lines(last))
    ]
    caption = "Students distilled at each temperature, on public samples that none of them has learnt from."
    drawn = [figure(plots["temperature"], caption)] if "temperature" in plots else []
    earlier = [(str(number), f"{each.temperature:g}", f"{each.alpha:g}", each.why) for number, each in choices[:-1]]
    before = (
        [folded("Choices of earlier rounds", table("", ("Round", "T", "alpha", "Why"), earlier, "nnnt"))]
        if earlier
        else []
    )
    return section("temperature", "The temperature of the distillation", *said, trials, columns(drawn), *before)


def _shown(choice: TemperatureChoice) -> tuple[list[str], list[tuple[str, ...]]]:
    """Head and rows without the columns that need labels where there are none."""
    rows = temperature_rows(choice)
    kept = [column for column in range(len(HEAD)) if choice.labelled or any(row[column] != "–" for row in rows)]
    return [HEAD[column] for column in kept], [tuple(row[column] for column in kept) for row in rows]


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
