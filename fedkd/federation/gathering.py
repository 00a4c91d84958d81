"""What came of asking the clients of a round: who answered, what it cost, and how it becomes a teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import mean
from typing import Any

from fedkd.federation.answers import Answers
from fedkd.federation.ensemble import Ensemble
from fedkd.federation.record_fields import payload_bytes
from fedkd.federation.replies import Round
from fedkd.federation.secure.exchange import Invitation, SecureRound
from fedkd.records import Refusal, Seconds, SecureSum, Traffic


@dataclass(frozen=True)
class Gathered:
    """A round before the server has learnt from it, the same in clear and under masks.

    Attributes:
        aggregate: makes a teacher of what came; `None` where nothing usable did.
        client_seconds: wall time of the clients by phase, summed over them; empty under masks.
        others: fields of a `RoundRecord`.
    """

    aggregate: Callable[[], Answers] | None
    replied: tuple[int, ...]
    dropped: tuple[int, ...]
    late: tuple[int, ...]
    refused: tuple[Refusal, ...]
    train_loss: float | None
    clipped_fraction: float | None
    bytes: Traffic
    secure_sum: SecureSum | None = None
    client_seconds: dict[str, float] = field(default_factory=dict)

    @property
    def recorded(self) -> dict[str, Any]:
        """What a `RoundRecord` takes over as it is."""
        return {name: value for name, value in vars(self).items() if name not in {"aggregate", "client_seconds"}}

    def seconds(self, server_seconds: dict[str, float], total: float) -> Seconds:
        """Where the time of the round went."""
        phases = {
            phase: server_seconds.get(phase, 0.0) + self.client_seconds.get(phase, 0.0)
            for phase in Seconds.model_fields
            if phase != "total"
        }
        return Seconds(total=total, **phases)


def gather_replies(ensemble: Ensemble, invitation: Invitation, replies: Round) -> Gathered:
    """What each client sent."""
    metrics = [each.reply.metrics for each in replies.valid]
    return Gathered(
        aggregate=partial(ensemble.aggregate_replies, invitation.server_round, invitation.asked_N, replies.valid)
        if replies.valid
        else None,
        replied=tuple(each.reply.client for each in replies.valid),
        dropped=tuple(replies.dropped),
        late=tuple(replies.late),
        refused=tuple(replies.refused),
        train_loss=_mean([each.train_loss for each in metrics]),
        clipped_fraction=_mean([each.clipped_fraction for each in metrics]),
        bytes=Traffic(
            up=replies.bytes_up,
            down=sum(payload_bytes(content) for content in invitation.contents.values()),
            evaluation=replies.evaluation_bytes,
        ),
        client_seconds={
            "local_training": sum(each.training_seconds for each in metrics),
            "public_inference": sum(each.public_inference_seconds for each in metrics),
            "evaluation": sum(each.evaluation_seconds for each in metrics),
        },
    )


def gather_sum(ensemble: Ensemble, secure: SecureRound) -> Gathered:
    """What is known of a round of which only a sum is: nothing of one client alone."""
    total, survivors = secure.total, set(secure.survivors)
    measured = secure.evaluation_bytes * len(survivors)
    return Gathered(
        aggregate=None if total is None else partial(ensemble.aggregate_sum, total),
        replied=secure.survivors,
        dropped=tuple(sorted(set(secure.dropped) - survivors)),
        late=tuple(sorted(set(secure.late) - survivors)),
        refused=tuple(secure.refused),
        train_loss=total.counts.train_loss / total.num_clients if total else None,
        clipped_fraction=total.counts.num_clipped / max(total.counts.num_values, 1) if total else None,
        bytes=Traffic(
            up=sum(secure.bytes_up.values()) - measured, down=sum(secure.bytes_down.values()), evaluation=measured
        ),
        secure_sum=secure.record,
    )


def _mean(values: list[float]) -> float | None:
    return mean(values) if values else None
