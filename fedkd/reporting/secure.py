"""What the report says of secure aggregation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedkd.records import RunRecord, SecureSum
from fedkd.reporting.formatting import duration, size
from fedkd.reporting.text_table import TextTable


@dataclass(frozen=True)
class SecureSummary:
    """What the sums of all rounds cost and lost.

    Args:
        num_sums: how many sums over clients the server saw.
        resolution: a mean of the last round's sum is known to within it.
        clipped: share of all logits that were clipped, or `None` where that was not counted.
        stages: seconds, bytes and missing clients of each stage, over all rounds.
        failures: the rounds without a sum, and why.
        adjacent: the rounds whose cohort differs from the one before by one client, and that client.
    """

    num_sums: int
    resolution: float
    clipped: float | None
    stages: TextTable
    failures: TextTable
    adjacent: TextTable


def secure_summary(run: RunRecord) -> SecureSummary | None:
    """Add up what each stage cost and lost; `None` where no round was summed under masks."""
    by_round = [(str(each.server_round), each.secure_sum) for each in run.history if each.secure_sum is not None]
    if not by_round:
        return None
    sums = [each for _, each in by_round]
    stages = tuple(_stage_row(stage, sums) for stage in sums[0].seconds)
    failures = tuple((number, each.failure) for number, each in by_round if each.failure)
    adjacent = tuple(
        (number, str(each.adjacent_client)) for number, each in by_round if each.adjacent_client is not None
    )
    return SecureSummary(
        num_sums=sum(max(1, len(each.groups)) for each in sums if not each.failure),
        resolution=sums[-1].resolution,
        clipped=_clipped(run),
        stages=TextTable(("Stage", "Seconds", "Up", "Down", "Missing"), stages, "tnnnn"),
        failures=TextTable(("Round", "Why"), failures, "nt"),
        adjacent=TextTable(("Round", "Client"), adjacent, "nn"),
    )


def _clipped(run: RunRecord) -> float | None:
    fractions = [record.clipped_fraction for record in run.history if record.clipped_fraction is not None]
    return sum(fractions) / len(fractions) if fractions else None


def _stage_row(stage: str, sums: Sequence[SecureSum]) -> tuple[str, ...]:
    return (
        stage,
        duration(sum(each.seconds.get(stage, 0.0) for each in sums)),
        size(sum(each.bytes_up.get(stage, 0) for each in sums)),
        size(sum(each.bytes_down.get(stage, 0) for each in sums)),
        str(sum(len(each.dropped.get(stage, ())) for each in sums)),
    )
