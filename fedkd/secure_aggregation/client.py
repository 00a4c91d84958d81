"""A client's side of one secure sum: a message in, a message out, in a fixed order.

    advertise → share → mask → (confirm) → unmask

Whatever goes wrong is a `SecureAggregationError`; the client then forgets its secrets and answers nothing more in this
round. It releases one kind of share of each neighbour's secrets, once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fedkd.secure_aggregation import client_checks as check
from fedkd.secure_aggregation import keys
from fedkd.secure_aggregation.client_state import ClientState, Memory, Secrets, Stage
from fedkd.secure_aggregation.client_work import mask_vector, open_shares, share_secrets
from fedkd.secure_aggregation.errors import ParameterError, PolicyError, ReplayError, StageError, SurvivorListError
from fedkd.secure_aggregation.masking import RingArray
from fedkd.secure_aggregation.messages import (
    Advertisement,
    AdvertiseRequest,
    Confirmation,
    ConfirmRequest,
    MaskedInput,
    MaskRequest,
    PublicKeys,
    ShareRequest,
    UnmaskingShares,
    UnmaskRequest,
)
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.policy import ClientPolicy
from fedkd.secure_aggregation.transcript import advertisement_message, survivors_message
from fedkd.secure_aggregation.wire import Session


@dataclass(frozen=True)
class Credentials:
    """Long-lived Ed25519 identities, given out of band.

    Attributes:
        private: this client's private key, 32 bytes.
        roster: every client's public key, 32 bytes each.
    """

    private: bytes
    roster: Mapping[int, bytes]


class SecureClient:
    """One client in one round.

    Args:
        client: its id, 0 ≤ id < 2^32.
        policy: its own terms.
        public_set_digest: SHA-256 of the public samples it holds, 32 bytes.
        credentials: needed where the policy's trust is "active".
        state: what an earlier instance kept, or `None` for a client that has never taken part.

    Raises:
        ParameterError: an active server is to be defended against without credentials.
    """

    def __init__(
        self,
        client: int,
        policy: ClientPolicy,
        *,
        public_set_digest: bytes,
        credentials: Credentials | None = None,
        state: ClientState | None = None,
    ) -> None:
        if policy.trust == "active" and credentials is None:
            raise ParameterError("credentials = None is not allowed where trust = 'active': identities sign")
        self.client, self.policy = client, policy
        self._public_set_digest = public_set_digest
        self._credentials = credentials if policy.trust == "active" else None
        self._state = state or ClientState()

    @property
    def stage(self) -> Stage:
        """The message it waits for."""
        return self._state.stage

    @property
    def state(self) -> ClientState:
        """Everything it must keep until the next message, secrets included; `to_bytes` writes it down."""
        return self._state

    def next_round(self) -> SecureClient:
        """The same client for another round: nothing but the memory goes with it."""
        return SecureClient(
            self.client,
            self.policy,
            public_set_digest=self._public_set_digest,
            credentials=self._credentials,
            state=ClientState(memory=self._state.memory),
        )

    def advertise(self, request: bytes) -> bytes:
        """Answer an `AdvertiseRequest` with fresh public keys."""
        with self._at(Stage.START):
            parameters = AdvertiseRequest.read(request, None).parameters
            AdvertiseRequest.read(request, parameters.session)  # the header names the same session
            self._check_parameters(parameters)
            advertisement = self._advertise(parameters.session, parameters)
            self._begin(parameters.session)
            return advertisement

    def advertise_early(self, session: Session) -> bytes:
        """Advertise keys for a round whose parameters will be known with its `ShareRequest`, to spare an exchange.

        The round begins with that request: until then it may be begun with other keys, as these may have been lost.
        """
        with self._at(Stage.START):
            return self._advertise(session, None)

    def share(self, request: bytes) -> bytes:
        """Answer a `ShareRequest`: check everybody's keys, share this client's secrets with its neighbours."""
        with self._at(Stage.ADVERTISED) as (state, session):
            message = ShareRequest.read(request, session)
            parameters = message.parameters
            self._check_parameters(parameters)
            if parameters.session != session or state.parameters not in (None, parameters):
                raise PolicyError("the parameters differ from those that were announced with the invitation")
            check.check_members(message.members, PublicKeys(self.client, *state.own_keys), parameters.num_clients)
            if self._credentials is not None:
                for member in message.members:
                    check.check_identity(session, member, self._credentials.roster)
            self.policy.check_topology(message.topology, len(message.members))
            self._state, shares = share_secrets(self.client, state, message)
            self._begin(session)
            return shares.to_bytes(session)

    def mask(self, request: bytes, vector_D: RingArray, *, student_digest: bytes, public_set_digest: bytes) -> bytes:
        """Answer a `MaskRequest`: keep the neighbours' shares, and mask this client's input.

        Args:
            request: the server's message.
            vector_D: as `encode` made it; left as it is.
            student_digest: SHA-256 of the model that this client was sent, by its own calculation.
            public_set_digest: SHA-256 of the public samples that it has answered, by its own calculation.
        """
        with self._at(Stage.SHARED) as (state, session):
            parameters = state.agreed_parameters
            message = MaskRequest.read(request, session)
            check.check_digest("student", student_digest, parameters.student_digest)
            check.check_digest("public set", public_set_digest, parameters.public_set_digest)
            check.check_vector(vector_D, parameters)
            check.check_sharers(message.sharers, state.members, self.client)
            self.policy.check_cohort(len(message.sharers))
            peers = sorted(set(message.sharers) & set(state.mask_keys))
            check.check_threshold(len(peers) + 1, state.threshold, "have shared")
            check.check_sealed(message, state.mask_keys, state.members)
            kept = Secrets(shares=open_shares(self.client, state, message))
            masked = mask_vector(self.client, state, vector_D, peers, parameters)
            self._state = replace(state, stage=Stage.MASKED, sharers=message.sharers, secrets=kept)
            return MaskedInput(masked).to_bytes(parameters)

    def confirm(self, request: bytes) -> bytes:
        """Answer a `ConfirmRequest`: sign for the survivors. Only an active server is asked to collect signatures."""
        with self._at(Stage.MASKED) as (state, session):
            if self._credentials is None:
                raise StageError("survivors are confirmed only where trust = 'active'")
            message = ConfirmRequest.read(request, session)
            self._check_survivors(state, message.alive, message.dead)
            alive = tuple(sorted(message.alive))
            signature = keys.sign(self._credentials.private, survivors_message(session, state.transcript, alive))
            self._state = replace(state, stage=Stage.CONFIRMED, alive=alive)
            return Confirmation(signature).to_bytes(session)

    def unmask(self, request: bytes) -> bytes:
        """Answer an `UnmaskRequest`: one share of each neighbour's secrets. Afterwards nothing secret is left."""
        with self._at(Stage.MASKED if self._credentials is None else Stage.CONFIRMED) as (state, session):
            message = UnmaskRequest.read(request, session)
            self._check_survivors(state, message.alive, message.dead)
            if self._credentials is not None:
                self._check_confirmed(state, message, self._credentials.roster)
            alive = frozenset(message.alive)
            released = [pair[0] if owner in alive else pair[1] for owner, pair in state.secrets.shares.items()]
            self._state = ClientState(stage=Stage.DONE, memory=Memory(session, alive))
            return UnmaskingShares(tuple(released)).to_bytes(session)

    @contextmanager
    def _at(self, expected: Stage) -> Iterator[tuple[ClientState, Session]]:
        """Check the order of messages; forget all secrets if anything goes wrong, whatever it is."""
        state, stage, finished = self._state, self._state.stage, False
        if stage is Stage.DONE:
            raise ReplayError("this client has unmasked already; it answers nothing more in this round")
        try:
            if stage is not expected:
                raise StageError(f"this client is at stage {stage.value!r}; the message is for {expected.value!r}")
            yield state, state.session
            finished = True
        finally:
            if not finished:
                self._state = state.wiped()

    def _advertise(self, session: Session, parameters: SessionParameters | None) -> bytes:
        last = self._state.memory.session
        if last.run == session.run and session.server_round <= last.server_round:
            raise ReplayError(
                f"round {session.server_round} of run {session.run!r} is asked for after {last.server_round}"
            )
        mask, share = keys.new_key_pair(), keys.new_key_pair()
        signature = b""
        if self._credentials is not None:
            signed = advertisement_message(session, self.client, mask.public, share.public)
            signature = keys.sign(self._credentials.private, signed)
        self._state = replace(
            self._state,
            stage=Stage.ADVERTISED,
            session=session,
            parameters=parameters,
            own_keys=(mask.public, share.public),
            secrets=Secrets(mask_private=mask.private, share_private=share.private),
        )
        return Advertisement(PublicKeys(self.client, mask.public, share.public, signature)).to_bytes(session)

    def _begin(self, session: Session) -> None:
        self._state = replace(self._state, memory=replace(self._state.memory, session=session))

    def _check_parameters(self, parameters: SessionParameters) -> None:
        self.policy.check_parameters(parameters)
        check.check_digest("public set", self._public_set_digest, parameters.public_set_digest)

    def _check_survivors(self, state: ClientState, alive: tuple[int, ...], dead: tuple[int, ...]) -> None:
        check.check_listing(alive, dead, state.sharers, self.client)
        self.policy.check_cohort(len(alive))
        neighbours = len(set(alive) & set(state.mask_keys)) + 1
        check.check_threshold(neighbours, state.threshold, "are alive")
        self.policy.check_adjacent(frozenset(alive), state.memory.previous_cohort)

    def _check_confirmed(self, state: ClientState, message: UnmaskRequest, roster: Mapping[int, bytes]) -> None:
        if tuple(sorted(message.alive)) != state.alive:
            raise SurvivorListError("the survivors are not those that this client has signed for")
        signed = survivors_message(state.session, state.transcript, state.alive)
        check.check_signatures(message, {self.client, *state.mask_keys}, roster, signed)
        check.check_threshold(len(message.signers), state.threshold, "have signed for the survivors")
