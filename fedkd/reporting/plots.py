"""The plots of one run, each drawn once: for its file under `plots/`, and for the page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fedkd.records import PartitionRecord, RunRecord
from fedkd.reporting.formatting import percent, size, size_unit, words
from fedkd.reporting.heatmap import confusion_plots, partition_plot
from fedkd.reporting.lines import Axis, Line, line_plot
from fedkd.reporting.measures import LABELS, PHASES, Measure, curve, last_confusion, measured, phase_seconds
from fedkd.reporting.plot import CENTRALISED, LOCAL_ONLY, Plot, Stroke, stroke
from fedkd.reporting.temperature import temperature_choices, temperature_plot

if TYPE_CHECKING:
    from fedkd.storage.run_store import RunStore

ROUND = Axis("round", "{:.0f}".format, whole=True)
ACCURACY = Axis("accuracy (%)", "{:.1f} %".format)
SECONDS = Axis("seconds", "{:.2f} s".format)
SUMMED = "What clients do (local training, public inference, their share of evaluation) is summed over them."
"""What a reader of seconds by phase must know."""

_STROKES: dict[Measure, Stroke] = {
    "student": Stroke("#2f7de1", (), "o", 2.6),
    "ensemble_teacher": Stroke("#d97706", (7, 3), "s"),
    "clients_mean": Stroke("#2a9d5c", (), "^"),
    "clients_worst": Stroke("#c8509b", (2, 2.5), "v"),
}


def run_plots(run: RunRecord, partition: PartitionRecord | None) -> dict[str, Plot]:
    """Draw what there is to draw of a run, by name: accuracy, bytes, seconds; and as recorded agreement, the last
    choice of a temperature, partition, and the confusion matrices of the last round.
    """
    plots = {"accuracy": accuracy_plot(run), "bytes": bytes_plot(run), "seconds": seconds_plot(run)}
    if any(value is not None for line in _agreements(run) for value in line.ys):
        plots["agreement"] = agreement_plot(run)
    choices = temperature_choices(run)
    if choices:
        plots["temperature"] = temperature_plot(choices[-1][1])
    if partition is not None:
        plots["partition"] = partition_plot(partition)
    confusion = last_confusion(run)
    if confusion is not None:
        plots |= confusion_plots(confusion, None if partition is None else partition.class_names)
    return plots


def write_plots(store: RunStore, plots: Mapping[str, Plot]) -> tuple[Path, ...]:
    """Write each plot to `plots/<name>.svg`.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    return tuple(store.write_plot(name, plot.svg) for name, plot in plots.items())


def accuracy_plot(run: RunRecord) -> Plot:
    """Draw accuracy against round, with the baselines as curves where their histories are known, else as levels."""
    rounds = [record.server_round for record in run.history]
    baselines = [
        _baseline("local-only", run.baselines.local_only, run.baselines.local_only_history, rounds, LOCAL_ONLY),
        _baseline("centralised", run.baselines.centralised, run.baselines.centralised_history, rounds, CENTRALISED),
    ]
    levels = [percent(level) for level in (run.baselines.local_only, run.baselines.centralised)]
    spoken = f"Test accuracy by round. {_spoken(run)} Baselines: local-only {levels[0]}, centralised {levels[1]}."
    lines = [*_accuracies(run, rounds), *baselines]
    return line_plot("plot-accuracy", "Accuracy by round", spoken, lines, ROUND, ACCURACY, most=100)


def bytes_plot(run: RunRecord) -> Plot:
    """Draw accuracy against the payload bytes spent so far, up and down together."""
    spent = bytes_so_far(run)
    axis = bytes_axis(max(spent, default=0))
    spoken = f"Test accuracy against cumulative payload, {size(max(spent, default=0))} in all. {_spoken(run)}"
    return line_plot("plot-bytes", "Accuracy by payload", spoken, _accuracies(run, spent), axis, ACCURACY, most=100)


def seconds_plot(run: RunRecord) -> Plot:
    """Draw the seconds of each phase of each round, and the wall time.

    What clients do is summed over them, so that it stands above the wall time where they work side by side.
    """
    rounds = [record.server_round for record in run.history]
    lines = [
        Line(
            f"phase-{phase}".replace("_", "-"),
            words(phase),
            rounds,
            [phase_seconds(record.seconds)[phase] for record in run.history],
            stroke(index),
        )
        for index, phase in enumerate(PHASES)
    ]
    walls = [record.seconds.total for record in run.history]
    lines.append(Line("wall-time", "wall time", rounds, walls, CENTRALISED))
    totals = ", ".join(f"{words(phase)} {value:.1f} s" for phase, value in phase_seconds(run.seconds).items())
    return line_plot("plot-seconds", "Seconds by phase", f"Seconds by phase, in all: {totals}.", lines, ROUND, SECONDS)


def agreement_plot(run: RunRecord) -> Plot:
    """Draw how often student and teacher choose the same class: on the test split, and on the public samples."""
    lines = _agreements(run)
    ends = [f"{line.label}: {line.measured[-1][1]:.1f} % in the last round." for line in lines if line.measured]
    spoken = "Share of samples on which student and ensemble teacher agree, by round. " + " ".join(ends)
    axis = Axis("agreement (%)", ACCURACY.write)
    return line_plot("plot-agreement", "Agreement of student and teacher", spoken, lines, ROUND, axis, most=100)


def bytes_so_far(run: RunRecord) -> list[int]:
    """Return the payload bytes, up and down, after each recorded round."""
    return list(itertools.accumulate(record.bytes.up + record.bytes.down for record in run.history))


def bytes_axis(most: float) -> Axis:
    """Return an axis of bytes in the unit that reads best for up to `most` of them."""
    unit, name = size_unit(most)
    return Axis(f"payload so far ({name})", lambda count: size(round(count)), unit=unit)


def in_percent(values: Sequence[float | None]) -> list[float | None]:
    """Return fractions as percentages."""
    return [None if value is None else 100 * value for value in values]


def _accuracies(run: RunRecord, places: list[int]) -> list[Line]:
    return [
        Line(measure.replace("_", "-"), LABELS[measure], places, in_percent(curve(run, measure)), _STROKES[measure])
        for measure in measured(run)
    ]


def _baseline(name: str, level: float | None, history: tuple[float, ...], rounds: list[int], look: Stroke) -> Line:
    values = history or [level] * len(rounds)
    places = range(1, len(history) + 1) if history else rounds
    return Line(name, name, places, in_percent(values), look)


def _agreements(run: RunRecord) -> list[Line]:
    rounds = [record.server_round for record in run.history]
    test = [record.agreement for record in run.history]
    public = [None if record.distillation is None else record.distillation.agreement for record in run.history]
    return [
        Line("agreement-test", "on the test split", rounds, in_percent(test), stroke(0)),
        Line("agreement-public", "on public samples", rounds, in_percent(public), stroke(1)),
    ]


def _spoken(run: RunRecord) -> str:
    sentences = []
    for measure in measured(run):
        values = [value for value in curve(run, measure) if value is not None]
        sentences.append(f"{LABELS[measure].capitalize()}: from {percent(values[0])} to {percent(values[-1])}.")
    return " ".join(sentences) or "No accuracy was measured."
