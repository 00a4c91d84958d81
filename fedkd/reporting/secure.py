"""The report's section on secure aggregation."""

from __future__ import annotations

from collections.abc import Sequence

from fedkd.records import RunRecord, SecureSum
from fedkd.reporting.elements import paragraph, section, table
from fedkd.reporting.formatting import duration, number, percent, size


def secure_section(run: RunRecord) -> str:
    """What each stage cost and lost, over all rounds; empty where nothing was summed unseen."""
    sums = [record.secure_sum for record in run.history if record.secure_sum is not None]
    if not sums:
        return ""
    head = ("Stage", "Seconds", "Up", "Down", "Missing")
    rows = [_stage_row(stage, sums) for stage in sums[0].seconds]
    failures = [
        (str(record.server_round), record.secure_sum.failure)
        for record in run.history
        if record.secure_sum is not None and record.secure_sum.failure
    ]
    adjacent = [
        (str(record.server_round), str(record.secure_sum.adjacent_client))
        for record in run.history
        if record.secure_sum is not None and record.secure_sum.adjacent_client is not None
    ]
    num_sums = sum(max(1, len(each.groups)) for each in sums if not each.failure)
    said = (
        f"The server saw {num_sums} sums over clients and no client's answers. A mean of them is known to within "
        f"{number(sums[-1].resolution)}.{_clipped(run)} Clients missing at the last stage are in the sum."
    )
    body = [paragraph(said), table("All rounds together, by stage", head, rows, "tnnnn")]
    if failures:
        body.append(table("Rounds without a sum", ("Round", "Why"), failures, "nt"))
    if adjacent:
        warning = "Cohorts that differ from the one before by one client: the two sums together may reveal its answers."
        body += [paragraph(warning, "warn"), table("Such cohorts", ("Round", "Client"), adjacent, "nn")]
    return section("secure", "Secure aggregation", *body)


def _clipped(run: RunRecord) -> str:
    fractions = [record.clipped_fraction for record in run.history if record.clipped_fraction is not None]
    return f" Clipped were {percent(sum(fractions) / len(fractions))} of all logits." if fractions else ""


def _stage_row(stage: str, sums: Sequence[SecureSum]) -> tuple[str, ...]:
    return (
        stage,
        duration(sum(each.seconds.get(stage, 0.0) for each in sums)),
        size(sum(each.bytes_up.get(stage, 0) for each in sums)),
        size(sum(each.bytes_down.get(stage, 0) for each in sums)),
        str(sum(len(each.dropped.get(stage, ())) for each in sums)),
    )
