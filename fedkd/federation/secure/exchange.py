"""One exchange of a round's sums with their clients: ask all, hand what they answer to the protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import PayloadError, SecureAggregationError
from fedkd.federation.messages import TRAIN, Absence, TrainInstruction, absence_from_records, content_of, one_line
from fedkd.federation.record_fields import payload_bytes
from fedkd.federation.secure.messages import (
    SECURE,
    SecureAnswer,
    SecureRequest,
    SecureStage,
    answer_from_records,
    request_to_records,
    with_request,
)
from fedkd.federation.secure.vector import SumOfClients
from fedkd.records import Refusal, SecureSum
from fedkd.secure_aggregation import SecureServer, ServerStage, SessionParameters
from fedkd.types import IntArray

REASON = "secure_aggregation"

_STAGES: dict[ServerStage, SecureStage] = {
    ServerStage.ADVERTISEMENTS: "advertise",
    ServerStage.SHARES: "share",
    ServerStage.MASKED_INPUTS: "mask",
    ServerStage.CONFIRMATIONS: "confirm",
    ServerStage.UNMASKING_SHARES: "unmask",
}


@dataclass(frozen=True)
class Invitation:
    """Whom a round asks, and for what.

    Attributes:
        server_round: from 1.
        nodes: client -> node.
        drawn_N: the keys that were drawn for the round.
        asked_N: those that clients are asked for.
        instructions: by client; those who get the same share one.
        contents: the same as records.
    """

    server_round: int
    nodes: Mapping[int, int]
    drawn_N: IntArray
    asked_N: IntArray
    instructions: Mapping[int, TrainInstruction]
    contents: Mapping[int, RecordDict]


@dataclass
class SecureRound:
    """What came of a round: the sum (`None` if it failed), and of every client that is not in it what became of it.

    `evaluation_bytes` are those of one client's vector that serve only the measurement.
    """

    total: SumOfClients | None = None
    survivors: tuple[int, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    liars: tuple[int, ...] = ()
    adjacent_client: int | None = None
    dropped: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    resolution: float = 0.0
    evaluation_bytes: int = 0
    missing: dict[str, list[int]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_up: dict[str, int] = field(default_factory=dict)
    bytes_down: dict[str, int] = field(default_factory=dict)
    failure: str = ""

    @property
    def record(self) -> SecureSum:
        """The same, to be written down."""
        return SecureSum(
            survivors=self.survivors,
            groups=self.groups,
            dropped={stage: tuple(sorted(clients)) for stage, clients in self.missing.items() if clients},
            liars=self.liars,
            adjacent_client=self.adjacent_client,
            resolution=self.resolution,
            seconds=self.seconds,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            failure=self.failure,
        )


class OpenSum:
    """One sum of a round on its way.

    Args:
        members: whom it is over.
        parameters: its own.
        server: the protocol's side of it, not started yet.
        advertisements: by client, keys for this round that came with the last; these clients need not be asked.

    Attributes:
        requests: what to send next, by client.
        failure: why it has failed, or `None`.
    """

    def __init__(
        self,
        members: Sequence[int],
        parameters: SessionParameters,
        server: SecureServer,
        advertisements: Mapping[int, bytes],
    ) -> None:
        self.parameters, self.server = parameters, server
        self.failure: SecureAggregationError | None = None
        self.early = {client: advertisements[client] for client in members if client in advertisements}
        self.requests = {
            client: request for client, request in server.start(members).items() if client not in self.early
        }

    @property
    def is_open(self) -> bool:
        """Whether there is a stage left."""
        return self.server.stage not in {ServerStage.DONE, ServerStage.FAILED}

    @property
    def num_survivors(self) -> int:
        """Clients in the finished sum."""
        return len(self.server.result.survivors)

    def advance(self) -> None:
        """Close a stage."""
        try:
            self.requests = self.server.advance()
        except SecureAggregationError as problem:
            self.failure = problem


@dataclass
class Exchange:
    """Asks a round's clients, stage by stage.

    Attributes:
        grid: reaches them.
        config: the experiment.
        invitation: whom, and for what.
        digests: of the instructions, by architecture.
        timeout: seconds to wait for answers.
        outcome: where all that happens is noted.
        on_reply: as for `SecureRounds`.
        advertisements: keys for the next round that have come, by client.
    """

    grid: Grid
    config: ExperimentConfig
    invitation: Invitation
    digests: Mapping[str, str]
    timeout: float | None
    outcome: SecureRound
    on_reply: Callable[[int, int, int], None]
    advertisements: dict[int, bytes] = field(default_factory=dict)

    def run(self, sums: Sequence[OpenSum]) -> None:
        """One exchange: what all sums ask for at the stage that they are at."""
        stage, outcome, started = _STAGES[sums[0].server.stage], self.outcome, time.perf_counter()
        missing = outcome.missing.setdefault(stage, [])
        if stage == "advertise":
            self._take_early(sums, missing)
        nodes = self.invitation.nodes
        waiting = {nodes[client]: (client, each) for each in sums for client in each.requests}
        messages = [self._message(stage, client, each.requests[client]) for client, each in waiting.values()]
        outcome.bytes_down[stage] = sum(payload_bytes(message.content) for message in messages)
        outcome.bytes_up[stage] = 0
        replies = self.grid.send_and_receive(messages, timeout=self.timeout) if messages else ()
        for count, reply in enumerate(replies, start=1):
            asked = waiting.pop(reply.metadata.src_node_id, None)
            if asked is None:
                detail = "a reply from a node that was not asked, or a second"
                outcome.refused.append(Refusal(client=None, reason="sender", detail=detail))
            elif not self._take(stage, *asked, reply):
                missing.append(asked[0])
            if stage == "mask":
                self.on_reply(self.invitation.server_round, count, len(messages))
        silent = [client for client, _ in waiting.values()]
        missing.extend(silent)
        outcome.late.extend(silent)
        outcome.seconds[stage] = time.perf_counter() - started

    def _message(self, stage: SecureStage, client: int, request: bytes) -> Message:
        server_round, nodes = self.invitation.server_round, self.invitation.nodes
        asked = SecureRequest(stage, server_round, request, self.digests if stage == "mask" else {})
        if stage == "mask":
            content = with_request(self.invitation.contents[client], asked)
        else:
            content = request_to_records(asked)
        return Message(content, nodes[client], TRAIN if stage == "mask" else SECURE, group_id=str(server_round))

    def _take_early(self, sums: Sequence[OpenSum], missing: list[int]) -> None:
        for each in sums:
            for client, advertisement in each.early.items():
                if not self._hand_over(client, each, advertisement):
                    missing.append(client)

    def _take(self, stage: SecureStage, client: int, each: OpenSum, reply: Message) -> bool:
        """Hand one answer to the protocol; returns whether the client is still in."""
        try:
            answer = _opened(reply, client)
        except PayloadError as problem:
            self.outcome.refused.append(Refusal(client=client, reason=problem.reason, detail=problem.detail))
            return False
        if isinstance(answer, Absence):
            (self.outcome.dropped if answer.kind == "dropped" else self.outcome.late).append(client)
            return False
        if not self._hand_over(client, each, answer.message):
            return False
        if answer.advertisement and stage == "unmask":
            self.advertisements[client] = answer.advertisement
        self.outcome.bytes_up[stage] += payload_bytes(reply.content)
        return True

    def _hand_over(self, client: int, each: OpenSum, message: bytes) -> bool:
        try:
            each.server.receive(client, message)
        except SecureAggregationError as problem:
            detail = f"{type(problem).__name__}: {problem}"
            self.outcome.refused.append(Refusal(client=client, reason=REASON, detail=detail))
            return False
        return True


def _opened(reply: Message, client: int) -> SecureAnswer | Absence:
    """The protocol's message in a reply.

    Raises:
        PayloadError: there is none.
    """
    content = content_of(reply)
    answer = absence_from_records(content) or answer_from_records(content)
    if answer.client != client:
        raise PayloadError("sender", f"the reply says it is of client {answer.client}; its node is client {client}")
    if isinstance(answer, SecureAnswer) and answer.aborted:
        raise PayloadError(REASON, one_line(answer.aborted))
    return answer
