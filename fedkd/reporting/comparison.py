"""Several runs on one page: what differs between them, their curves over each other, their results and costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedkd.records import RunRecord
from fedkd.reporting.formatting import MISSING, duration, percent, size, words
from fedkd.reporting.lines import Axis, Line, line_plot
from fedkd.reporting.measures import ACCURACIES, LABELS, PHASES, Measure, curve, last_agreement, measured, phase_seconds
from fedkd.reporting.page import render_page
from fedkd.reporting.plot import Plot, Stroke, stroke
from fedkd.reporting.plots import ACCURACY, ROUND, SECONDS, SUMMED, bytes_axis, bytes_so_far, in_percent
from fedkd.reporting.reported import ReportedRun
from fedkd.reporting.settings import differing, flat, run_labels
from fedkd.reporting.text_table import TextTable

_TEMPLATE = """{% extends "page.html" %}
{% from "elements.html" import code, figure, section, table %}

{% block kicker %}fedkd comparison{% endblock %}
{% block title %}{{ entries|length }} runs compared{% endblock %}
{% block subtitle %}{{ labels|join("; ") }}{% endblock %}

{% block body %}
{% for entry in entries if entry.reported.unfinished %}
<p class="warn">{{ entry.reported.unfinished }}</p>
{% endfor %}

{% call section("result", "Results") %}
{{ table("One row a run", results) }}
<p class="note">Local-only and centralised are the baselines: clients that never talk, and one model on all the data. \
Agreement: how often student and ensemble teacher choose the same class on the test split.</p>
{% endcall %}

{% call section("curves", "Accuracy by round") %}
<p class="note">Press a name to hide or show that run in every plot of this page.</p>
<div class="columns">
{% for plot, absent in curves %}
{% set missing = " Not measured, or no part of the method: " ~ absent|join("; ") ~ "." if absent else "" %}
{{ figure(plot, "Test accuracy after each round." ~ missing) }}
{% endfor %}
</div>
{% endcall %}

{% call section("cost", "What it cost") %}
<div class="columns">
{% set lacking = " Clients' mean for what has no student: " ~ without_student|join("; ") ~ "." %}
{{ figure(bytes_plot, "Student's test accuracy against the payload sent so far, up and down."
    ~ (lacking if without_student else "")) }}
{{ figure(phases_plot, "Seconds of all rounds by phase. " ~ summed) }}
</div>
{% endcall %}

{% call section("differences", "What differs") %}
{% if differences.head|length > 1 %}
{{ table("Keys that differ", differences) }}
{% else %}
<p class="note">Nothing that results depend on.</p>
{% endif %}
{% endcall %}

{% call section("rerun", "Run them again") %}
{{ code(entries|map(attribute="reported.rerun")|join("\n")) }}
{% endcall %}
{% endblock %}
"""


@dataclass(frozen=True)
class _Entry:
    """A run, and how it is named and drawn all over the page."""

    key: str
    label: str
    stroke: Stroke
    reported: ReportedRun

    @property
    def run(self) -> RunRecord:
        return self.reported.run

    def line(self, xs: Sequence[float], ys: Sequence[float | None]) -> Line:
        return Line(self.key, self.label, xs, ys, self.stroke)


def render_comparison(runs: Sequence[ReportedRun]) -> str:
    """Return the comparison of runs as a whole HTML document, in the order in which they are given."""
    labels = run_labels(runs)
    entries = [
        _Entry(f"run-{index}", label, stroke(index), reported)
        for index, (label, reported) in enumerate(zip(labels, runs, strict=True))
    ]
    return render_page(
        _TEMPLATE,
        entries=entries,
        labels=labels,
        results=_results(entries),
        curves=_curves(entries),
        bytes_plot=_bytes_plot(entries),
        phases_plot=_phases_plot(entries),
        summed=SUMMED,
        without_student=[entry.label for entry in entries if _main(entry) != "student"],
        differences=_differences(entries),
    )


def _accuracy_plot(entries: Sequence[_Entry], measure: Measure) -> Plot:
    lines = [
        entry.line([record.server_round for record in entry.run.history], in_percent(curve(entry.run, measure)))
        for entry in entries
    ]
    title = f"Accuracy of the {LABELS[measure]}".replace("the clients,", "clients,")
    key = f"plot-{measure}".replace("_", "-")
    return line_plot(key, title, f"{title}, by round. {_spoken(lines)}", lines, ROUND, ACCURACY, most=100)


def _bytes_plot(entries: Sequence[_Entry]) -> Plot:
    lines = [entry.line(bytes_so_far(entry.run), in_percent(curve(entry.run, _main(entry)))) for entry in entries]
    axis = bytes_axis(max((max(line.xs, default=0) for line in lines), default=0))
    spoken = f"Test accuracy against cumulative payload. {_spoken(lines)}"
    return line_plot("plot-bytes", "Accuracy by payload", spoken, lines, axis, ACCURACY, most=100)


def _phases_plot(entries: Sequence[_Entry]) -> Plot:
    names = (*map(words, PHASES), "wall time")
    lines = []
    for entry in entries:
        seconds = [*phase_seconds(entry.run.seconds).values(), entry.run.seconds.total]
        marks = Stroke(entry.stroke.colour, (), entry.stroke.marker, 0)
        lines.append(Line(entry.key, entry.label, range(len(names)), seconds, marks))
    totals = " ".join(f"{entry.label}: {duration(entry.run.seconds.total)} wall time." for entry in entries)
    axis = Axis("phase", str, names=names)
    return line_plot("plot-phases", "Seconds by phase, whole run", f"Seconds by phase. {totals}", lines, axis, SECONDS)


def _main(entry: _Entry) -> Measure:
    """Whose accuracy stands for a run: the student's, or the clients' mean for a method without one."""
    return "student" if "student" in measured(entry.run) else "clients_mean"


def _spoken(lines: Sequence[Line]) -> str:
    ends = [f"{line.label}: {line.measured[-1][1]:.1f} %." for line in lines if line.measured]
    return "At the end, " + " ".join(ends) if ends else "Nothing was measured."


def _results(entries: Sequence[_Entry]) -> TextTable:
    accuracies = [LABELS[measure].capitalize() for measure in ACCURACIES]
    cells: dict[str, Callable[[RunRecord], str]] = {
        "Local-only": lambda run: percent(run.baselines.local_only),
        "Centralised": lambda run: percent(run.baselines.centralised),
        "Agreement": lambda run: percent(last_agreement(run)),
        "Up": lambda run: size(run.bytes.up),
        "Down": lambda run: size(run.bytes.down),
        "Wall time": lambda run: duration(run.seconds.total),
    }
    rows = tuple(
        (
            entry.label,
            f"{len(entry.run.history)}/{entry.run.rounds}",
            *(percent(accuracy(entry.run)) for accuracy in ACCURACIES.values()),
            *(cell(entry.run) for cell in cells.values()),
        )
        for entry in entries
    )
    head = ("Run", "Rounds", *accuracies, *cells)
    return TextTable(head, rows, "t" + "n" * (len(head) - 1))


def _curves(entries: Sequence[_Entry]) -> list[tuple[Plot, list[str]]]:
    """The plot of each accuracy that a run has, and the names of the runs that lack it."""
    plots = []
    for measure in ACCURACIES:
        absent = [entry.label for entry in entries if measure not in measured(entry.run)]
        if len(absent) < len(entries):
            having = [entry for entry in entries if entry.label not in absent]
            plots.append((_accuracy_plot(having, measure), absent))
    return plots


def _differences(entries: Sequence[_Entry]) -> TextTable:
    """The value of each key that differs, a row for each run; no columns but the run's name where none does."""
    keys = differing([entry.reported for entry in entries])
    settings = [flat(entry.reported.config) for entry in entries]
    rows = tuple(
        (entry.label, *(each.get(key, MISSING) for key in keys)) for entry, each in zip(entries, settings, strict=True)
    )
    return TextTable(("Run", *keys), rows, "t" * (len(keys) + 1))
