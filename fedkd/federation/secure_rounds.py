"""The server's part of secure aggregation between Flower's grid and the protocol: a round's sum, or why it failed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedkd.config import ExperimentConfig
from fedkd.errors import PayloadError, SecureAggregationError
from fedkd.federation.messages import (
    TRAIN,
    Absence,
    TrainInstruction,
    absence_from_records,
    content_of,
    one_line,
    payload_bytes,
)
from fedkd.federation.secure_messages import (
    SECURE,
    SecureRequest,
    SecureStage,
    answer_from_records,
    instruction_digest,
    request_to_records,
    student_digest,
    with_request,
)
from fedkd.federation.secure_vector import SumOfClients, VectorPlan, plan_of
from fedkd.federation.workspace import Workspace
from fedkd.methods import Method
from fedkd.records import Refusal, SecureSum
from fedkd.secure_aggregation import SecureServer, ServerStage, Session, SessionParameters, SumResult

_STAGES: dict[ServerStage, SecureStage] = {
    ServerStage.ADVERTISEMENTS: "advertise",
    ServerStage.SHARES: "share",
    ServerStage.MASKED_INPUTS: "mask",
    ServerStage.CONFIRMATIONS: "confirm",
    ServerStage.UNMASKING_SHARES: "unmask",
}

_REASON = "secure_aggregation"


@dataclass(frozen=True)
class Invitation:
    """Whom a round asks, and for what.

    Attributes:
        server_round: from 1.
        nodes: client -> node.
        instructions: by architecture.
        contents: the same as records.
    """

    server_round: int
    nodes: Mapping[int, int]
    instructions: Mapping[str, TrainInstruction]
    contents: Mapping[str, RecordDict]


@dataclass
class SecureRound:
    """What came of a round: the sum (`None` if it failed), and of every client that is not in it what became of it."""

    total: SumOfClients | None = None
    survivors: tuple[int, ...] = ()
    dropped: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    result: SumResult | None = None
    resolution: float = 0.0
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
            dropped={stage: tuple(sorted(clients)) for stage, clients in self.missing.items() if clients},
            liars=self.result.liars if self.result else (),
            adjacent_client=self.result.adjacent_client if self.result else None,
            resolution=self.resolution,
            seconds=self.seconds,
            bytes_up=self.bytes_up,
            bytes_down=self.bytes_down,
            failure=self.failure,
        )


class SecureRounds:
    """Secure sums, one a round.

    Args:
        config: the experiment.
        method: its method, whose aggregator is a mean.
        workspace: the server's data.
        on_reply: called with (round, replies to the mask stage so far, clients asked).
    """

    def __init__(
        self,
        config: ExperimentConfig,
        method: Method,
        workspace: Workspace,
        on_reply: Callable[[int, int, int], None] = lambda *_: None,
    ) -> None:
        self._config, self._method, self._workspace = config, method, workspace
        self._on_reply = on_reply
        self._run = secrets.token_hex(16)
        self._previous: tuple[int, ...] = ()

    def run(self, grid: Grid, invitation: Invitation, timeout: float | None) -> SecureRound:
        """Run all stages of a round over a grid; a client that fails at one of them is out, the others go on."""
        outcome = SecureRound()
        try:
            parameters, digests, plan = self._propose(invitation)
            outcome.resolution = parameters.step
            server = SecureServer(
                parameters,
                minimum_cohort=self._config.secure_aggregation.minimum_cohort,
                previous_survivors=self._previous,
            )
            requests = server.start(invitation.nodes)
            while requests:
                self._exchange(grid, invitation, server, requests, digests, timeout, outcome)
                requests = server.advance()
            result = server.result
            outcome.total = plan.decode(result.total_D, parameters, len(result.survivors))
            outcome.result, outcome.survivors = result, result.survivors
            self._previous = result.survivors
        except SecureAggregationError as problem:
            outcome.failure = f"{type(problem).__name__}: {problem}"
            outcome.refused.append(Refusal(client=None, reason=_REASON, detail=outcome.failure))
        return outcome

    def _propose(self, invitation: Invitation) -> tuple[SessionParameters, dict[str, str], VectorPlan]:
        first = next(iter(invitation.instructions.values()))
        data = self._workspace.data
        digests = {name: instruction_digest(each) for name, each in invitation.instructions.items()}
        plan = plan_of(self._config, self._method, data, first)
        parameters = plan.parameters(
            Session(self._run, invitation.server_round),
            len(invitation.nodes),
            public_set_digest=bytes.fromhex(data.public_digest),
            student_digest=student_digest(digests),
        )
        return parameters, digests, plan

    def _exchange(
        self,
        grid: Grid,
        invitation: Invitation,
        server: SecureServer,
        requests: Mapping[int, bytes],
        digests: Mapping[str, str],
        timeout: float | None,
        outcome: SecureRound,
    ) -> None:
        """One stage: ask, and hand the answers to the protocol."""
        stage, started = _STAGES[server.stage], time.perf_counter()
        clients = {invitation.nodes[client]: client for client in requests}
        messages = []
        for client, request in requests.items():
            asked = SecureRequest(stage, invitation.server_round, request, digests if stage == "mask" else {})
            instruction = invitation.contents[self._config.client_model(client)]
            content = with_request(instruction, asked) if stage == "mask" else request_to_records(asked)
            kind = TRAIN if stage == "mask" else SECURE
            messages.append(Message(content, invitation.nodes[client], kind, group_id=str(invitation.server_round)))
        outcome.bytes_down[stage] = sum(payload_bytes(message.content) for message in messages)
        outcome.bytes_up[stage] = 0
        waiting = dict(clients)
        for count, reply in enumerate(grid.send_and_receive(messages, timeout=timeout), start=1):
            node_id = reply.metadata.src_node_id
            if node_id not in waiting:
                detail = "a reply from a node that was not asked, or a second"
                outcome.refused.append(Refusal(client=None, reason="sender", detail=detail))
            elif not self._take(server, client := waiting.pop(node_id), reply, stage, outcome):
                outcome.missing.setdefault(stage, []).append(client)
            if stage == "mask":
                self._on_reply(invitation.server_round, count, len(clients))
        outcome.missing.setdefault(stage, []).extend(waiting.values())
        outcome.late.extend(waiting.values())
        outcome.seconds[stage] = time.perf_counter() - started

    def _take(
        self, server: SecureServer, client: int, reply: Message, stage: SecureStage, outcome: SecureRound
    ) -> bool:
        """Hand one answer to the protocol; returns whether the client is still in."""
        try:
            answer = _opened(reply, client)
            if isinstance(answer, Absence):
                (outcome.dropped if answer.kind == "dropped" else outcome.late).append(client)
                return False
            server.receive(client, answer)
        except PayloadError as problem:
            outcome.refused.append(Refusal(client=client, reason=problem.reason, detail=problem.detail))
            return False
        except SecureAggregationError as problem:
            detail = f"{type(problem).__name__}: {problem}"
            outcome.refused.append(Refusal(client=client, reason=_REASON, detail=detail))
            return False
        outcome.bytes_up[stage] += payload_bytes(reply.content)
        return True


def _opened(reply: Message, client: int) -> bytes | Absence:
    """The protocol's message in a reply.

    Raises:
        PayloadError: there is none.
    """
    content = content_of(reply)
    answer = absence_from_records(content) or answer_from_records(content)
    if answer.client != client:
        raise PayloadError("sender", f"the reply says it is of client {answer.client}; its node is client {client}")
    if isinstance(answer, Absence):
        return answer
    if answer.aborted:
        raise PayloadError(_REASON, one_line(answer.aborted))
    return answer.message
