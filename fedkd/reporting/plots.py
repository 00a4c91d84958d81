"""The four plots of a run, as SVG text: accuracy, partition, accuracy against bytes, seconds.

No pyplot, so nothing here opens a window or keeps a figure alive.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedkd.records import PartitionRecord, RunRecord
from fedkd.reporting.formatting import percent, size, size_unit, words
from fedkd.reporting.heatmap import partition_plot
from fedkd.reporting.measures import LABELS, PHASES, Measure, curve, measured, phase_seconds
from fedkd.reporting.svg import INK, MUTED, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fedkd.reporting.run_store import RunStore

__all__ = ["accuracy_plot", "bytes_plot", "partition_plot", "seconds_plot", "write_plots"]

_LINES: dict[Measure, dict[str, Any]] = {
    "student": {"color": "#2f7de1", "marker": "o", "linewidth": 2.4, "zorder": 4},
    "ensemble_teacher": {"color": "#d97706", "marker": "s"},
    "clients_mean": {"color": "#2a9d5c", "marker": "^"},
    "clients_worst": {"color": "#c8509b", "marker": "v"},
}
_MOST_MARKERS = 25
_PHASE_COLOURS = dict(zip(PHASES, ("#2a9d5c", "#56b4e9", "#d97706", "#2f7de1", "#a371d9"), strict=True))


def accuracy_plot(run: RunRecord) -> str:
    """Return accuracy against round, with the bounds as curves where their histories are known, else as levels."""

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        rounds = [record.server_round for record in run.history]
        _draw_curves(axes, run, rounds)
        _draw_bound(axes, "local-only", run.bounds.local_only, run.bounds.local_only_history, ":")
        _draw_bound(axes, "centralised", run.bounds.centralised, run.bounds.centralised_history, "--")
        _whole_rounds(axes)
        _finish_accuracy(figure, axes)

    bounds = f"Bounds: local-only {percent(run.bounds.local_only)}, centralised {percent(run.bounds.centralised)}."
    return render(
        "plot-accuracy", "Accuracy against round", f"Test accuracy by round. {_spoken(run)} {bounds}", (6.6, 3.8), paint
    )


def bytes_plot(run: RunRecord) -> str:
    """Return accuracy against the payload bytes spent so far, up and down together."""
    spent = list(itertools.accumulate(record.bytes.up + record.bytes.down for record in run.history))
    total = spent[-1] if spent else 0
    unit, unit_name = size_unit(total)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        _draw_curves(axes, run, [count / unit for count in spent])
        axes.set_xlim(left=0)
        axes.set_xlabel(f"payload so far, up and down ({unit_name})")
        _finish_accuracy(figure, axes, legend_columns=2)

    spoken = f"Test accuracy against cumulative payload, {size(total)} in all. {_spoken(run)}"
    return render("plot-bytes", "Accuracy against bytes", spoken, (5.3, 3.8), paint)


def seconds_plot(run: RunRecord) -> str:
    """Return the seconds of each round, stacked by phase, and the wall time.

    Local training and evaluation are summed over clients, so that a stack stands above the wall time where clients
    work side by side.
    """
    rounds = [record.server_round for record in run.history]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        below = [0.0] * len(rounds)
        for phase in PHASES:
            heights = [phase_seconds(record.seconds)[phase] for record in run.history]
            axes.bar(rounds, heights, bottom=below, color=_PHASE_COLOURS[phase], label=words(phase), width=0.8)
            below = [lower + height for lower, height in zip(below, heights, strict=True)]
        walls = [record.seconds.total for record in run.history]
        axes.plot(rounds, walls, "_", color=INK, label="wall time", markersize=10, markeredgewidth=1.8)
        axes.grid(visible=False, axis="x")
        _whole_rounds(axes)
        axes.set_ylabel("seconds")
        figure.legend(loc="outside lower center", ncols=2)

    totals = ", ".join(f"{words(phase)} {value:.1f} s" for phase, value in phase_seconds(run.seconds).items())
    return render("plot-seconds", "Seconds by phase and round", f"Seconds by phase: {totals}.", (5.3, 3.8), paint)


def write_plots(store: RunStore, run: RunRecord, partition: PartitionRecord | None) -> tuple[Path, ...]:
    """Write `plots/accuracy.svg`, `bytes.svg`, `seconds.svg`, and `partition.svg` where the partition is known.

    Raises:
        RunFolderError: the folder cannot be written.
    """
    plots = {"accuracy": accuracy_plot(run), "bytes": bytes_plot(run), "seconds": seconds_plot(run)}
    if partition is not None:
        plots["partition"] = partition_plot(partition)
    return tuple(store.write_plot(name, svg) for name, svg in plots.items())


def _draw_curves(axes: Axes, run: RunRecord, positions: list[Any]) -> None:
    markers_every = -(-len(positions) // _MOST_MARKERS) or 1
    for measure in measured(run):
        values = [_in_percent(value) for value in curve(run, measure)]
        axes.plot(positions, values, label=LABELS[measure], markevery=markers_every, **_LINES[measure])


def _draw_bound(axes: Axes, name: str, level: float | None, history: tuple[float, ...], dashes: str) -> None:
    if history:
        values = [_in_percent(value) for value in history]
        axes.plot(range(1, len(history) + 1), values, dashes, color=MUTED, label=name)
    elif level is not None:
        axes.axhline(100 * level, linestyle=dashes, color=MUTED, label=name)


def _finish_accuracy(figure: Figure, axes: Axes, legend_columns: int = 3) -> None:
    axes.set_ylabel("accuracy (%)")
    if axes.get_legend_handles_labels()[0]:
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, -2.0), min(high, 102.0))
        figure.legend(loc="outside lower center", ncols=legend_columns)
    else:
        axes.text(0.5, 0.5, "no accuracy was measured", transform=axes.transAxes, ha="center", color=MUTED)


def _whole_rounds(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.set_xlabel("round")


def _in_percent(fraction: float | None) -> float:
    return float("nan") if fraction is None else 100 * fraction


def _spoken(run: RunRecord) -> str:
    sentences = []
    for measure in measured(run):
        values = [value for value in curve(run, measure) if value is not None]
        sentences.append(f"{LABELS[measure].capitalize()}: from {percent(values[0])} to {percent(values[-1])}.")
    return " ".join(sentences) or "No accuracy was measured."
