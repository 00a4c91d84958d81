"""Several runs on one page: what differs between them, their curves over each other, their results and costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fedkd.records import RunRecord
from fedkd.reporting.elements import code, columns, figure, page, paragraph, section, table
from fedkd.reporting.formatting import MISSING, duration, percent, size, words
from fedkd.reporting.lines import Axis, Line, line_plot
from fedkd.reporting.measures import ACCURACIES, LABELS, PHASES, Measure, curve, last_agreement, measured, phase_seconds
from fedkd.reporting.plot import Plot, Stroke, stroke
from fedkd.reporting.plots import ACCURACY, ROUND, SECONDS, SUMMED, bytes_axis, bytes_so_far, in_percent
from fedkd.reporting.reported import ReportedRun
from fedkd.reporting.settings import differing, flat, run_labels


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
    body = [
        *(paragraph(reported.unfinished, "warn") for reported in runs if reported.unfinished),
        _result(entries),
        _curves(entries),
        _cost(entries),
        _differences(entries),
        _reruns(entries),
    ]
    return page("fedkd comparison", f"{len(runs)} runs compared", "; ".join(labels), body)


def _having(entries: Sequence[_Entry], measure: Measure) -> list[_Entry]:
    return [entry for entry in entries if measure in measured(entry.run)]


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


def _result(entries: Sequence[_Entry]) -> str:
    accuracies = [LABELS[measure].capitalize() for measure in ACCURACIES]
    cells: dict[str, Callable[[RunRecord], str]] = {
        "Local-only": lambda run: percent(run.baselines.local_only),
        "Centralised": lambda run: percent(run.baselines.centralised),
        "Agreement": lambda run: percent(last_agreement(run)),
        "Up": lambda run: size(run.bytes.up),
        "Down": lambda run: size(run.bytes.down),
        "Wall time": lambda run: duration(run.seconds.total),
    }
    rows = [
        (
            entry.label,
            f"{len(entry.run.history)}/{entry.run.rounds}",
            *(percent(accuracy(entry.run)) for accuracy in ACCURACIES.values()),
            *(cell(entry.run) for cell in cells.values()),
        )
        for entry in entries
    ]
    head = ("Run", "Rounds", *accuracies, *cells)
    note = (
        "Local-only and centralised are the baselines: clients that never talk, and one model on all the data. "
        "Agreement: how often student and ensemble teacher choose the same class on the test split."
    )
    kinds = "t" + "n" * (len(head) - 1)
    return section("result", "Results", table("One row a run", head, rows, kinds), paragraph(note))


def _curves(entries: Sequence[_Entry]) -> str:
    figures = []
    for measure in ACCURACIES:
        having = _having(entries, measure)
        if having:
            absent = [entry.label for entry in entries if entry not in having]
            figures.append(figure(_accuracy_plot(having, measure), _caption(absent)))
    note = paragraph("Press a name to hide or show that run in every plot of this page.")
    return section("curves", "Accuracy by round", note, columns(figures))


def _caption(absent: Sequence[str]) -> str:
    missing = f" Not measured, or no part of the method: {'; '.join(absent)}." if absent else ""
    return f"Test accuracy after each round.{missing}"


def _cost(entries: Sequence[_Entry]) -> str:
    without = [entry.label for entry in entries if _main(entry) != "student"]
    aside = f" Clients' mean for what has no student: {'; '.join(without)}." if without else ""
    figures = [
        figure(_bytes_plot(entries), f"Student's test accuracy against the payload sent so far, up and down.{aside}"),
        figure(_phases_plot(entries), f"Seconds of all rounds by phase. {SUMMED}"),
    ]
    return section("cost", "What it cost", columns(figures))


def _differences(entries: Sequence[_Entry]) -> str:
    keys = differing([entry.reported for entry in entries])
    if not keys:
        return section("differences", "What differs", paragraph("Nothing that results depend on."))
    rows = []
    for entry in entries:
        settings = flat(entry.reported.config)
        rows.append((entry.label, *(settings.get(key, MISSING) for key in keys)))
    keys_that_differ = table("Keys that differ", ("Run", *keys), rows, "t" * (len(keys) + 1))
    return section("differences", "What differs", keys_that_differ)


def _reruns(entries: Sequence[_Entry]) -> str:
    return section("rerun", "Run them again", code("\n".join(entry.reported.rerun for entry in entries)))
