"""The server's side of one secure sum.

    server = SecureServer(parameters)
    requests = server.start(clients)
    while requests:
        for client, reply in exchange(requests).items():
            server.receive(client, reply)
        requests = server.advance()
    server.result

`receive` raises a `SecureAggregationError` for a message that is refused; the server stays as it was, so that client
counts as dropped. `advance` closes a stage: who has not answered by then is out. Where too few are left it raises
`BelowThresholdError`, and there is no sum, not even a partial one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fedkd.secure_aggregation.errors import (
    DuplicateMessageError,
    LateMessageError,
    ParameterError,
    StageError,
    UnknownClientError,
)
from fedkd.secure_aggregation.masking import RingArray
from fedkd.secure_aggregation.messages import AdvertiseRequest
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.policy import adjacent_client
from fedkd.secure_aggregation.server_stages import AdvertisementStage, Collector, ServerStage, Terms, Unmasked


@dataclass(frozen=True)
class SumResult:
    """The sum, and how it came about.

    Attributes:
        total_D: the sum of the survivors' vectors, modulo 2^ring_bits.
        survivors: whose vectors are in it.
        dropped: by the stage at which they were missing, clients that did not stay to the end.
        liars: clients that certainly released false shares; the sum is right all the same.
        adjacent_client: the one client by which the survivors differ from the last round's, or `None`. Where there is
            one, the two sums together may reveal its input.
    """

    total_D: RingArray
    survivors: tuple[int, ...]
    dropped: dict[ServerStage, tuple[int, ...]]
    liars: tuple[int, ...]
    adjacent_client: int | None


class SecureServer:
    """The server in one round.

    Args:
        parameters: what it proposes.
        roster: every client's pinned public identity; needed where trust is "active".
        minimum_cohort: it gives up where fewer are left, as the clients would.
        previous_survivors: the last round's, to warn of cohorts that differ by one client.

    Raises:
        ParameterError: trust is "active" and there is no roster.
    """

    def __init__(
        self,
        parameters: SessionParameters,
        *,
        roster: Mapping[int, bytes] | None = None,
        minimum_cohort: int = 3,
        previous_survivors: Iterable[int] = (),
    ) -> None:
        if parameters.trust == "active" and roster is None:
            raise ParameterError("roster = None is not allowed where trust = 'active': identities sign")
        self._terms = Terms(parameters, roster if parameters.trust == "active" else None, minimum_cohort)
        self._previous = frozenset(previous_survivors)
        self._invited: frozenset[int] = frozenset()
        self._asked: frozenset[int] = frozenset()
        self._collector: Collector[Any] | None = None
        self._answers: dict[int, Any] = {}
        self._dropped: dict[ServerStage, tuple[int, ...]] = {}
        self._idle_stage = ServerStage.START
        self._result: SumResult | None = None

    @property
    def stage(self) -> ServerStage:
        """What it is collecting."""
        return self._collector.stage if self._collector else self._idle_stage

    @property
    def dropped(self) -> dict[ServerStage, tuple[int, ...]]:
        """By the stage at which they were missing, clients that have left so far."""
        return dict(self._dropped)

    @property
    def result(self) -> SumResult:
        """The sum.

        Raises:
            StageError: the round is not over, or has failed.
        """
        if self._result is None:
            raise StageError(f"there is no sum: the server is at stage {self.stage.value!r}")
        return self._result

    def start(self, clients: Iterable[int]) -> dict[int, bytes]:
        """Invite clients. Returns a request for each; who has advertised early need not be sent it.

        Raises:
            StageError: the server has started before.
            ParameterError: more clients than parameters.num_clients.
            BelowThresholdError: fewer than the minimum cohort.
        """
        if self.stage is not ServerStage.START:
            raise StageError(f"the server is at stage {self.stage.value!r}; it starts once")
        invited, parameters = frozenset(clients), self._terms.parameters
        if len(invited) > parameters.num_clients:
            raise ParameterError(f"{len(invited)} clients; num_clients = {parameters.num_clients}")
        self._terms.require_cohort(len(invited))
        self._invited = self._asked = invited
        self._collector = AdvertisementStage(self._terms)
        return dict.fromkeys(sorted(invited), AdvertiseRequest(parameters).to_bytes(parameters.session))

    def receive(self, client: int, message: bytes) -> None:
        """Take a client's answer in this stage; `client` is who the transport says it is.

        Raises:
            StageError, UnknownClientError, LateMessageError, DuplicateMessageError: it is not this client's turn.
            MalformedMessageError, WrongSessionError, VectorMismatchError, SignatureError, KeyListError: what it says.
        """
        if self._collector is None:
            raise StageError(f"a message of client {client} came at stage {self.stage.value!r}")
        if client not in self._invited:
            raise UnknownClientError(f"client {client} was not invited to this sum")
        if client not in self._asked:
            raise LateMessageError(f"client {client} was declared dead before stage {self.stage.value!r}")
        if client in self._answers:
            raise DuplicateMessageError(f"client {client} has answered at stage {self.stage.value!r} already")
        self._answers[client] = self._collector.take(client, message)

    def advance(self) -> dict[int, bytes]:
        """Close this stage. Returns the next stage's requests by client; none where the round is over.

        Raises:
            StageError: there is nothing to close.
            BelowThresholdError, UnrecoverableSecretError: the round has failed, and stays so.
        """
        if self._collector is None:
            raise StageError(f"there is nothing to close at stage {self.stage.value!r}")
        collector, answers = self._collector, dict(sorted(self._answers.items()))
        if missing := tuple(sorted(self._asked - answers.keys())):
            self._dropped[collector.stage] = missing
        self._collector, self._idle_stage, self._answers = None, ServerStage.FAILED, {}
        self._asked = frozenset(answers)
        following, requests = collector.close(answers)
        if isinstance(following, Unmasked):
            self._finish(following)
        else:
            self._collector = following
        return requests

    def _finish(self, unmasked: Unmasked) -> None:
        self._idle_stage = ServerStage.DONE
        self._result = SumResult(
            unmasked.total_D,
            tuple(sorted(unmasked.survivors)),
            self.dropped,
            tuple(sorted(unmasked.liars)),
            adjacent_client(unmasked.survivors, self._previous),
        )
