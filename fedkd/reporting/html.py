"""The report of a run, and the comparison of several: one HTML file that needs no other and asks for none.

Guarantees:
    - No request leaves the page: style, script and plots are inline, and a content security policy forbids the browser
      what the page does not contain; only the page's own script may run.
    - All that the page says can be read without the script.
    - Every text from a run, its configuration or its environment is escaped.
    - The same records give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from fedkd.records import PartitionRecord, RoundRecord, RunRecord
from fedkd.reporting.elements import code, columns, facts, figure, folded, page, paragraph, section, table, tile
from fedkd.reporting.formatting import MISSING, duration, number, percent, points, size, words
from fedkd.reporting.measures import ACCURACIES, LABELS, last_agreement, lost_replies
from fedkd.reporting.plot import Plot
from fedkd.reporting.plots import SUMMED
from fedkd.reporting.reported import ReportedRun
from fedkd.reporting.secure import secure_section
from fedkd.reporting.settings import changed
from fedkd.reporting.tables import cost_rows, lost_parts, result_rows
from fedkd.reporting.temperature import temperature_section
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
    subtitle = f"Method {run.method}, seed {run.seed}, {len(run.history)} of {run.rounds} rounds recorded"
    body = [
        _unfinished(reported),
        _tiles(run),
        _result(run, plots),
        _agreement(run, plots),
        temperature_section(run, plots),
        _partition(reported.partition, plots),
        _cost(plots),
        secure_section(run),
        _rounds(run),
        _lost(run),
        _configuration(reported),
        _environment(reported.environment),
    ]
    return page("fedkd run report", reported.name, subtitle, body)


def _unfinished(reported: ReportedRun) -> str:
    return paragraph(reported.unfinished, "warn") if reported.unfinished else ""


def _tiles(run: RunRecord) -> str:
    gain = points(run.student.accuracy, run.baselines.local_only)
    tiles = [
        tile("Student", percent(run.student.accuracy), "" if gain == MISSING else f"{gain} over local-only"),
        tile("Ensemble teacher", percent(run.ensemble_teacher.accuracy), f"agreement {percent(last_agreement(run))}"),
        tile("Clients, mean", percent(run.clients.mean_accuracy), f"worst {percent(run.clients.worst_accuracy)}"),
        tile("Payload", size(run.bytes.up + run.bytes.down), f"{size(run.bytes.up)} up, {size(run.bytes.down)} down"),
        tile("Wall time", duration(run.seconds.total), f"{len(run.history)} rounds"),
    ]
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _result(run: RunRecord, plots: Mapping[str, Plot]) -> str:
    head = ("Test accuracy of", "Accuracy", "Over local-only")
    result = table("Accuracy between its two baselines", head, result_rows(run), "tnn", 0)
    caption = (
        "Test accuracy after each round. Local-only: clients that never talk. Centralised: one model on all the data. "
        "Both train for the same total of local epochs. "
        "Balanced: the mean over classes of the share of each that is right."
    )
    left = f"<div>{result}{facts(cost_rows(run))}</div>"
    return section("result", "Result", columns([left, *_figures(plots, {"accuracy": caption})]))


def _agreement(run: RunRecord, plots: Mapping[str, Plot]) -> str:
    captions = {
        "agreement": "How often student and ensemble teacher choose the same class.",
        "confusion-both": "Test samples by the teacher's choice and the student's: off the diagonal they disagree.",
        "confusion-student": "Test samples by true class and the student's choice, after the last round.",
        "confusion-teacher": "Test samples by true class and the ensemble teacher's choice, after the last round.",
    }
    figures = _figures(plots, captions)
    if not figures:
        return ""
    last = last_agreement(run)
    said = [] if last is None else [paragraph(f"On the test split they last agreed on {percent(last)} of the samples.")]
    return section("agreement", "Student and teacher", *said, columns(figures))


def _partition(partition: PartitionRecord | None, plots: Mapping[str, Plot]) -> str:
    if partition is None:
        return ""
    skew = [(words(name), number(value)) for name, value in partition.skew.items()]
    figures = _figures(plots, {"partition": partition.description})
    return section("partition", "Who holds what", *figures, facts(skew) if skew else "")


def _cost(plots: Mapping[str, Plot]) -> str:
    captions = {
        "bytes": "Test accuracy against the payload sent so far, up and down together.",
        "seconds": f"Seconds of each round by phase. {SUMMED}",
    }
    return section("cost", "What it cost", columns(_figures(plots, captions)))


def _figures(plots: Mapping[str, Plot], captions: Mapping[str, str]) -> list[str]:
    return [figure(plots[name], caption) for name, caption in captions.items() if name in plots]


def _rounds(run: RunRecord) -> str:
    head = (
        "Round",
        *(LABELS[measure].capitalize() for measure in ACCURACIES),
        "Student loss",
        "Agreement",
        "Replied",
        "Lost",
        "Up",
        "Down",
        "Wall time",
    )
    rows = table("One row a round", head, [_round_row(record) for record in run.history], "nnnnnnnntnnn")
    if len(run.history) > _MOST_OPEN_ROUNDS:
        rows = folded(f"All {len(run.history)} rounds", rows)
    note = paragraph("Agreement: how often student and teacher choose the same class on the test split.")
    return section("rounds", "Rounds", rows, note)


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


def _lost(run: RunRecord) -> str:
    counts = {fate: count for fate, count in lost_replies(run).items() if count}
    if not counts:
        return section("lost", "Lost replies", paragraph("Every reply arrived in time and was used."))
    body = [paragraph("Over all rounds: " + ", ".join(f"{count} {fate}" for fate, count in counts.items()), "warn")]
    refusals = [
        (str(record.server_round), _client(refusal.client), refusal.reason, refusal.detail)
        for record in run.history
        for refusal in record.refused
    ]
    if refusals:
        head = ("Round", "Client", "Reason", "Detail")
        body.append(table("Refused replies", head, refusals[:_MOST_REFUSALS], "nntt"))
    if len(refusals) > _MOST_REFUSALS:
        body.append(paragraph(f"{len(refusals) - _MOST_REFUSALS} more refusals are in rounds.jsonl."))
    return section("lost", "Lost replies", *body)


def _client(client: int | None) -> str:
    return MISSING if client is None else str(client)


def _configuration(reported: ReportedRun) -> str:
    settings = changed(reported)
    head = ("Key", "This run", "Default")
    rows = [(setting.key, setting.value, setting.default or MISSING) for setting in settings]
    return section(
        "rerun",
        "Run it again",
        paragraph("The resolved configuration, its seed included, lies in the run folder."),
        code(reported.rerun),
        "<h3>What differs from the defaults</h3>",
        table("Keys that are not at their defaults", head, rows, "ttt") if rows else paragraph("Nothing."),
        folded("The whole config.toml", code(to_toml(reported.config))),
    )


def _environment(environment: Mapping[str, object]) -> str:
    rows = [(words(key), value) for key, value in _flat(environment)]
    return section("environment", "Environment", table("What it ran on", ("Name", "Value"), rows, "tt"))


def _flat(environment: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    rows = []
    for key, value in environment.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key} ")
        else:
            rows.append((f"{prefix}{key}", _plain(value)))
    return rows


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
