"""Results as text: two tables for the terminal, and one line a round."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from fedkd.records import RoundRecord, RunRecord
from fedkd.reporting.formatting import duration, percent, points, size, words
from fedkd.reporting.measures import ACCURACIES, BALANCED, LABELS, lost_replies, phase_seconds


def result_rows(run: RunRecord) -> list[tuple[str, str, str]]:
    """Return the rows of the result table: whose accuracy, the accuracy, and the student's gain over local-only; then
    the balanced accuracies that were measured.
    """
    rows = [(LABELS[measure], percent(accuracy(run)), "") for measure, accuracy in ACCURACIES.items()]
    rows[0] = (*rows[0][:2], points(run.student.accuracy, run.baselines.local_only))
    return [
        *rows,
        ("local-only (baseline)", percent(run.baselines.local_only), ""),
        ("centralised (baseline)", percent(run.baselines.centralised), ""),
        *_balanced_rows(run),
    ]


def _balanced_rows(run: RunRecord) -> list[tuple[str, str, str]]:
    gain = points(run.student.balanced_accuracy, run.baselines.local_only_balanced)
    return [
        (f"{whose}, balanced", percent(accuracy(run)), gain if whose == "student" else "")
        for whose, accuracy in BALANCED.items()
        if accuracy(run) is not None
    ]


def cost_rows(run: RunRecord) -> list[tuple[str, str]]:
    """Return the rows of the cost table: bytes, seconds by phase, and lost replies where there were any."""
    rows = [("bytes up", size(run.bytes.up)), ("bytes down", size(run.bytes.down))]
    rows += [(words(phase), duration(seconds)) for phase, seconds in phase_seconds(run.seconds).items()]
    rows += [("wall time", duration(run.seconds.total))]
    return rows + [(f"{fate} replies", str(count)) for fate, count in lost_replies(run).items() if count]


def result_table(run: RunRecord) -> Table:
    """Return the accuracies on the test split, between their two baselines, as a table for the terminal."""
    table = Table(title=Text(f"{run.method}, seed {run.seed}, {_rounds(run)}"), title_justify="left")
    table.add_column("test accuracy of")
    table.add_column("accuracy", justify="right")
    table.add_column("over local-only", justify="right")
    for row in result_rows(run):
        table.add_row(*row)
    return table


def cost_table(run: RunRecord) -> Table:
    """Return what the run cost, as a table for the terminal: bytes, seconds, lost replies."""
    table = Table(title="cost", title_justify="left")
    table.add_column("of")
    table.add_column("amount", justify="right")
    for row in cost_rows(run):
        table.add_row(*row)
    return table


def round_line(record: RoundRecord) -> str:
    """Return one round as one line of text."""
    replies = f"{len(record.replied)}/{len(record.selected)} replied"
    scores = [f"{LABELS[measure]} {percent(accuracy(record))}" for measure, accuracy in ACCURACIES.items()]
    parts = [
        f"round {record.server_round}" + ("" if record.completed else " not completed"),
        *scores,
        replies,
        *lost_parts(record),
        f"up {size(record.bytes.up)}",
        f"down {size(record.bytes.down)}",
        duration(record.seconds.total),
    ]
    return " · ".join(parts)


def lost_parts(record: RoundRecord) -> list[str]:
    """Return what happened to the replies of a round that were not used, one text for each kind that occurred."""
    reasons = ", ".join(sorted({refusal.reason for refusal in record.refused}))
    parts = [f"{len(record.refused)} refused ({reasons})"] if record.refused else []
    parts += [f"{len(record.dropped)} dropped"] if record.dropped else []
    return parts + ([f"{len(record.late)} late"] if record.late else [])


def _rounds(run: RunRecord) -> str:
    return "1 round" if run.rounds == 1 else f"{run.rounds} rounds"
