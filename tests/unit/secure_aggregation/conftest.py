"""A round driven from end to end, with hooks for what goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fedkd.secure_aggregation import (
    ClientPolicy,
    ClientState,
    Credentials,
    SecureClient,
    SecureServer,
    ServerStage,
    Session,
    SessionParameters,
    SumResult,
    VectorLayout,
    new_identity,
    smallest_ring_bits,
)

PUBLIC, STUDENT = b"p" * 32, b"s" * 32
Tamper = Callable[[ServerStage, int, bytes], bytes]


def make_parameters(num_clients: int = 5, **changes: Any) -> SessionParameters:
    """Small honest-but-curious parameters, with changes."""
    value_bits, weight_bits = changes.get("value_bits", 10), changes.get("weight_bits", 4)
    defaults: dict[str, Any] = {
        "session": Session("run", 1),
        "num_clients": num_clients,
        "trust": "curious",
        "ring_bits": smallest_ring_bits(num_clients, value_bits, weight_bits),
        "value_bits": value_bits,
        "weight_bits": weight_bits,
        "clipping_range": 4.0,
        "layout": VectorLayout(num_weights=3, values_per_weight=2),
        "public_set_digest": PUBLIC,
        "student_digest": STUDENT,
    }
    return SessionParameters(**(defaults | changes))


def make_policy(parameters: SessionParameters, **changes: Any) -> ClientPolicy:
    """The policy that asks for just these parameters."""
    fitting: dict[str, Any] = {
        "trust": parameters.trust,
        "clipping_range": parameters.clipping_range,
        "value_bits": parameters.value_bits,
        "weight_bits": parameters.weight_bits,
        "minimum_cohort": 2,
    }
    return ClientPolicy(**(fitting | changes))


@dataclass
class Round:
    """All parties of one round in one place.

    Clients are rebuilt from bytes before every message, as a client whose process lives for one message would be.
    """

    parameters: SessionParameters
    ids: tuple[int, ...]
    policy_changes: Mapping[str, Any] = field(default_factory=dict)
    states: dict[int, bytes] = field(default_factory=dict)
    requests: dict[ServerStage, dict[int, bytes]] = field(default_factory=dict)
    replies: dict[ServerStage, dict[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        identities = {client: new_identity() for client in self.ids} if self.parameters.trust == "active" else {}
        self.roster = {client: identity.public for client, identity in identities.items()}
        self.private = {client: identity.private for client, identity in identities.items()}
        self.server = SecureServer(self.parameters, roster=self.roster, minimum_cohort=2)
        self.clients = {client: self.make_client(client) for client in self.ids}
        rng = np.random.default_rng(7)
        largest = self.parameters.largest_entry
        shape = (len(self.ids), self.parameters.layout.vector_length)
        dtype = np.uint32 if self.parameters.ring_bits <= 32 else np.uint64
        vectors = rng.integers(0, largest, shape, dtype=np.uint64, endpoint=True).astype(dtype)
        self.vectors = dict(zip(self.ids, vectors, strict=True))

    def make_client(self, client: int, state: ClientState | None = None) -> SecureClient:
        credentials = Credentials(self.private[client], self.roster) if self.private else None
        policy = make_policy(self.parameters, **self.policy_changes)
        return SecureClient(client, policy, public_set_digest=PUBLIC, credentials=credentials, state=state)

    def answer(self, stage: ServerStage, client: int, request: bytes) -> bytes:
        """What a client says to a request; its state passes through bytes."""
        self.clients[client] = party = self.make_client(
            client, ClientState.from_bytes(self.clients[client].state.to_bytes())
        )
        if stage is ServerStage.MASKED_INPUTS:
            return party.mask(request, self.vectors[client], student_digest=STUDENT, public_set_digest=PUBLIC)
        return {
            ServerStage.ADVERTISEMENTS: party.advertise,
            ServerStage.SHARES: party.share,
            ServerStage.CONFIRMATIONS: party.confirm,
            ServerStage.UNMASKING_SHARES: party.unmask,
        }[stage](request)

    def run(
        self,
        drop: Mapping[ServerStage, Collection[int]] | None = None,
        *,
        until: ServerStage | None = None,
        tamper: Tamper = lambda *sent: sent[-1],
    ) -> dict[int, bytes]:
        """Drive the round to its end, or until a stage's requests are made; returns those."""
        requests = self.server.start(self.ids)
        while requests:
            stage = self.server.stage
            self.requests[stage] = requests
            if stage is until:
                return requests
            self.replies[stage] = {}
            for client, request in requests.items():
                if client not in (drop or {}).get(stage, ()):
                    reply = self.answer(stage, client, request)
                    self.replies[stage][client] = reply
                    self.server.receive(client, tamper(stage, client, reply))
            requests = self.server.advance()
        return {}

    def resume_to(self, until: ServerStage) -> None:
        """Go on from where a run has stopped: answer what the current stage still waits for, and all that follows."""
        while self.server.stage is not until:
            stage = self.server.stage
            for client, request in self.requests[stage].items():
                if client not in self.server._answers:
                    reply = self.replies.get(stage, {}).get(client) or self.answer(stage, client, request)
                    self.server.receive(client, reply)
            requests = self.server.advance()
            self.requests[self.server.stage] = requests

    def resume(self) -> None:
        """Go on to the end."""
        self.resume_to(ServerStage.DONE)

    def plain_sum(self, clients: Iterable[int]) -> np.ndarray:
        """The sum of the vectors that go in, in Python's integers."""
        modulus = 1 << self.parameters.ring_bits
        return np.array(
            [sum(map(int, entries)) % modulus for entries in zip(*(self.vectors[c] for c in clients), strict=True)],
            dtype=np.uint64,
        )

    def require_exact(self) -> SumResult:
        """The result, which must be the plain sum over its survivors."""
        result = self.server.result
        np.testing.assert_array_equal(result.total_D.astype(np.uint64), self.plain_sum(result.survivors))
        return result


@pytest.fixture(scope="session")
def make_round() -> Callable[..., Round]:
    """Make a round of n clients with ids 3, 10, 17, …; keywords change its parameters or its clients' policy."""

    def make(num_clients: int = 5, *, policy: Mapping[str, Any] | None = None, **changes: Any) -> Round:
        ids = tuple(range(3, 3 + 7 * num_clients, 7))
        return Round(make_parameters(num_clients, **changes), ids, policy or {})

    return make


@pytest.fixture(scope="session")
def parameters() -> Callable[..., SessionParameters]:
    return make_parameters


@pytest.fixture(scope="session")
def policy() -> Callable[..., ClientPolicy]:
    return make_policy
