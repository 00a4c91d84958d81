"""The report of a run: one HTML file that needs no other and asks for none.

Guarantees:
    - No request leaves the page: style and plots are inline, there are no scripts, and a content security policy
      forbids the browser what the page does not contain.
    - Every text from the run, its configuration or its environment is escaped.
    - The same records give the same bytes.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import PurePath

from fedkd.records import PartitionRecord, RoundRecord, RunRecord
from fedkd.reporting.elements import code, facts, figure, paragraph, section, table, text, tile
from fedkd.reporting.files import to_toml
from fedkd.reporting.formatting import MISSING, duration, number, percent, points, size, words
from fedkd.reporting.measures import ACCURACIES, LABELS, lost_replies
from fedkd.reporting.plots import accuracy_plot, bytes_plot, partition_plot, seconds_plot
from fedkd.reporting.tables import cost_rows, lost_parts, result_rows
from fedkd.reporting.template import PAGE, STYLE

_MOST_REFUSALS = 200


def render_report(
    run: RunRecord, config: Mapping[str, object], environment: Mapping[str, object], partition: PartitionRecord | None
) -> str:
    """Return the report of one run as a whole HTML document.

    Args:
        run: the run and all its rounds.
        config: the resolved configuration, as read from `config.toml`.
        environment: versions, seed, public digest, start; nested values are shown as JSON.
        partition: how the private samples lie over the clients, or `None` where that is unknown.

    Raises:
        RunFolderError: `config` holds a value that has no TOML form.
    """
    sections = [_result(run), _curves(run), _partition(partition), _cost(run), _rounds(run), _lost(run)]
    sections += [_configuration(run, config), _environment(environment)]
    name = PurePath(run.run_dir).name or run.run_dir
    subtitle = f"Method {run.method}, seed {run.seed}, {len(run.history)} of {run.rounds} rounds recorded"
    return PAGE.substitute(
        title=text(f"{name} – fedkd"),
        style=STYLE,
        name=text(name),
        subtitle=text(subtitle),
        tiles=_tiles(run),
        sections="\n".join(part for part in sections if part),
    )


def _tiles(run: RunRecord) -> str:
    gain = points(run.student.accuracy, run.bounds.local_only)
    tiles = [
        tile("Student", percent(run.student.accuracy), "" if gain == MISSING else f"{gain} over local-only"),
        tile("Ensemble teacher", percent(run.ensemble_teacher.accuracy)),
        tile("Clients, mean", percent(run.clients.mean_accuracy), f"worst {percent(run.clients.worst_accuracy)}"),
        tile("Payload", size(run.bytes.up + run.bytes.down), f"{size(run.bytes.up)} up, {size(run.bytes.down)} down"),
        tile("Wall time", duration(run.seconds.total), f"{len(run.history)} rounds"),
    ]
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _result(run: RunRecord) -> str:
    head = ("Test accuracy of", "Accuracy", "Over local-only")
    return section("result", "Result", table("Final accuracy between its two bounds", head, result_rows(run), "tnn", 0))


def _curves(run: RunRecord) -> str:
    caption = (
        "Test accuracy after each round. Local-only: clients that never talk. Centralised: one model on all the data. "
        "Both train for the same total of local epochs."
    )
    return section("accuracy", "Accuracy by round", figure(accuracy_plot(run), "Accuracy by round", caption))


def _partition(partition: PartitionRecord | None) -> str:
    if partition is None:
        return ""
    skew = [(words(name), number(value)) for name, value in partition.skew.items()]
    body = [figure(partition_plot(partition), "Partition", partition.description)]
    if skew:
        body.append(facts(skew))
    return section("partition", "Partition of the private samples", *body)


def _cost(run: RunRecord) -> str:
    seconds = "Seconds of each round by phase. Local training and evaluation are summed over clients."
    plots = [
        figure(bytes_plot(run), "Accuracy by payload", "Test accuracy against the payload sent so far."),
        figure(seconds_plot(run), "Seconds by round", seconds),
    ]
    return section("cost", "What it cost", f'<div class="columns">{"".join(plots)}</div>', facts(cost_rows(run)))


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
    rows = [_round_row(record) for record in run.history]
    note = paragraph("Agreement: how often student and teacher choose the same class after distillation.")
    return section("rounds", "Rounds", table("One row a round", head, rows, "nnnnnnnntnnn"), note)


def _round_row(record: RoundRecord) -> tuple[str, ...]:
    agreement = None if record.distillation is None else record.distillation.agreement
    lost = [*([] if record.completed else ["not completed"]), *lost_parts(record)]
    return (
        str(record.server_round),
        *(percent(accuracy(record)) for accuracy in ACCURACIES.values()),
        number(record.student.loss),
        percent(agreement),
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


def _configuration(run: RunRecord, config: Mapping[str, object]) -> str:
    command = f"fedkd simulate {shlex.quote(str(PurePath(run.run_dir) / 'config.toml'))}"
    return section(
        "rerun",
        "Run it again",
        paragraph("The resolved configuration, its seed included, lies in the run folder."),
        code(command),
        "<h3>config.toml</h3>",
        code(to_toml(config)),
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
