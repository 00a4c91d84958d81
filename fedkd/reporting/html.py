"""The report of a run: its values, for the template. `fedkd.reporting.page` says what holds of every page."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fedkd.records import RoundRecord, RunRecord
from fedkd.reporting.formatting import MISSING, duration, number, percent, points, size, words
from fedkd.reporting.measures import ACCURACIES, LABELS, last_agreement, lost_replies
from fedkd.reporting.page import render_page
from fedkd.reporting.plot import Plot
from fedkd.reporting.plots import SUMMED
from fedkd.reporting.report_template import REPORT
from fedkd.reporting.reported import ReportedRun
from fedkd.reporting.secure import secure_summary
from fedkd.reporting.settings import changed
from fedkd.reporting.tables import cost_rows, lost_parts, result_rows
from fedkd.reporting.temperature import temperature_summary
from fedkd.reporting.text_table import TextTable
from fedkd.storage.files import to_toml

_MOST_REFUSALS = 200
_MOST_OPEN_ROUNDS = 20


def render_report(reported: ReportedRun, plots: Mapping[str, Plot]) -> str:
    """Return the report of one run as a whole HTML document.

    Args:
        reported: the run.
        plots: its plots, as `run_plots` draws them; a plot that is not among them has no place on the page.

    Raises:
        RunFolderError: the configuration holds a value that has no TOML form.
    """
    run = reported.run
    refusals = _refusals(run)
    return render_page(
        REPORT,
        reported=reported,
        run=run,
        plots=plots,
        gain=_gain(run),
        agreement=last_agreement(run),
        result=TextTable(("Test accuracy of", "Accuracy", "Over local-only"), tuple(result_rows(run)), "tnn"),
        costs=cost_rows(run),
        temperature=temperature_summary(run),
        skew=_skew(reported),
        summed=SUMMED,
        secure=secure_summary(run),
        rounds=_rounds(run),
        most_open_rounds=_MOST_OPEN_ROUNDS,
        lost=[f"{count} {fate}" for fate, count in lost_replies(run).items() if count],
        refusals=TextTable(("Round", "Client", "Reason", "Detail"), refusals[:_MOST_REFUSALS], "nntt"),
        more_refusals=len(refusals) - _MOST_REFUSALS,
        settings=_settings(reported),
        config_toml=to_toml(reported.config),
        environment=TextTable(("Name", "Value"), _flat(reported.environment), "tt"),
    )


def _gain(run: RunRecord) -> str:
    gain = points(run.student.accuracy, run.baselines.local_only)
    return "" if gain == MISSING else f"{gain} over local-only"


def _skew(reported: ReportedRun) -> list[tuple[str, str]]:
    measures = {} if reported.partition is None else reported.partition.skew
    return [(words(name), number(value)) for name, value in measures.items()]


def _rounds(run: RunRecord) -> TextTable:
    accuracies = [LABELS[measure].capitalize() for measure in ACCURACIES]
    costs = ("Replied", "Lost", "Up", "Down", "Wall time")
    head = ("Round", *accuracies, "Student loss", "Agreement", *costs)
    return TextTable(head, tuple(map(_round_row, run.history)), "nnnnnnnntnnn")


def _round_row(record: RoundRecord) -> tuple[str, ...]:
    lost = [*([] if record.completed else ["not completed"]), *lost_parts(record)]
    return (
        str(record.server_round),
        *(percent(accuracy(record)) for accuracy in ACCURACIES.values()),
        number(record.student.loss),
        percent(record.agreement),
        f"{len(record.replied)}/{len(record.selected)}",
        ", ".join(lost) or "none",
        size(record.bytes.up),
        size(record.bytes.down),
        duration(record.seconds.total),
    )


def _refusals(run: RunRecord) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            str(record.server_round),
            MISSING if refusal.client is None else str(refusal.client),
            refusal.reason,
            refusal.detail,
        )
        for record in run.history
        for refusal in record.refused
    )


def _settings(reported: ReportedRun) -> TextTable:
    rows = ((setting.key, setting.value, setting.default or MISSING) for setting in changed(reported))
    return TextTable(("Key", "This run", "Default"), tuple(rows), "ttt")


def _flat(environment: Mapping[str, object], prefix: str = "") -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    for key, value in environment.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key} ")
        else:
            rows.append((words(f"{prefix}{key}"), _plain(value)))
    return tuple(rows)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
