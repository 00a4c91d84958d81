"""The server's stages: each checks clients' answers, and closes into the next with a request for each client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import numpy as np

from fedkd.secure_aggregation.client_checks import check_identity
from fedkd.secure_aggregation.errors import BelowThresholdError, KeyListError, MalformedMessageError
from fedkd.secure_aggregation.graph import choose_topology, neighbourhoods
from fedkd.secure_aggregation.keys import require_sound, verify
from fedkd.secure_aggregation.masking import RingArray
from fedkd.secure_aggregation.messages import (
    Advertisement,
    Confirmation,
    ConfirmRequest,
    MaskedInput,
    MaskRequest,
    PublicKeys,
    ShareRequest,
    Shares,
    UnmaskingShares,
    UnmaskRequest,
)
from fedkd.secure_aggregation.packing import ring_dtype
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.transcript import cohort_digest, graph_seed, survivors_message, transcript_digest
from fedkd.secure_aggregation.unmasking import Cohort, unmask_total

Answer = TypeVar("Answer")


class ServerStage(StrEnum):
    """What the server is collecting."""

    START = "start"
    ADVERTISEMENTS = "advertisements"
    SHARES = "shares"
    MASKED_INPUTS = "masked inputs"
    CONFIRMATIONS = "confirmations"
    UNMASKING_SHARES = "unmasking shares"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Terms:
    """What holds for the whole round; `roster` is `None` where no identities are used."""

    parameters: SessionParameters
    roster: Mapping[int, bytes] | None
    minimum_cohort: int

    def require_cohort(self, num_clients: int) -> None:
        """Refuse to go on with fewer than the minimum cohort.

        Raises:
            BelowThresholdError: says so.
        """
        if num_clients < self.minimum_cohort:
            raise BelowThresholdError(f"{num_clients} clients are left; the minimum cohort is {self.minimum_cohort}")


class Collector(Protocol[Answer]):
    """One stage: `take` checks one client's answer, `close` goes on with all of them, in ascending order of clients."""

    stage: ServerStage

    def take(self, client: int, message: bytes) -> Answer:
        """Read and check an answer; raise for one that is refused."""

    def close(self, answers: dict[int, Answer]) -> Step:
        """The next stage and its requests; raise where too few are left."""


@dataclass(frozen=True)
class Unmasked:
    """The end: the sum, whose it is, and who lied."""

    total_D: RingArray
    survivors: frozenset[int]
    liars: frozenset[int]


Step = tuple[Collector[Any] | Unmasked, dict[int, bytes]]


class AdvertisementStage:
    """Collects public keys."""

    stage = ServerStage.ADVERTISEMENTS

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._keys: set[bytes] = set()

    def take(self, client: int, message: bytes) -> PublicKeys:
        """Refuse keys that are weak, in use, for another client, or not signed by it."""
        session = self.terms.parameters.session
        advertisement = Advertisement.read(message, session).keys
        if advertisement.client != client:
            raise MalformedMessageError(f"client {client} advertises keys for client {advertisement.client}")
        public = {advertisement.mask_key, advertisement.share_key}
        if len(public) < 2 or public & self._keys:
            raise KeyListError(f"client {client} advertises a key that is in use")
        require_sound(public)
        if self.terms.roster is not None:
            check_identity(session, advertisement, self.terms.roster)
        self._keys |= public
        return advertisement

    def close(self, answers: dict[int, PublicKeys]) -> Step:
        """Fix the cohort and its graph."""
        self.terms.require_cohort(len(answers))
        parameters, members = self.terms.parameters, tuple(answers.values())
        topology = choose_topology(len(members), parameters.trust)
        digest = cohort_digest(parameters, [each[:3] for each in members])
        cohort = Cohort(
            threshold=topology.threshold,
            transcript=transcript_digest(digest, topology),
            holders=neighbourhoods(tuple(answers), topology.num_neighbours, graph_seed(digest)),
            mask_keys={each.client: each.mask_key for each in members},
        )
        request = ShareRequest(parameters, topology, members).to_bytes(parameters.session)
        return ShareStage(self.terms, cohort), dict.fromkeys(answers, request)


@dataclass
class ShareStage:
    """Collects sealed shares, and passes them on."""

    terms: Terms
    cohort: Cohort
    stage = ServerStage.SHARES

    def take(self, client: int, message: bytes) -> Shares:
        """Refuse shares that are not one for each neighbour."""
        shares = Shares.read(message, self.terms.parameters.session)
        expected = len(self.cohort.holders[client]) - 1
        if len(shares.sealed) != expected:
            raise MalformedMessageError(
                f"client {client} sent {len(shares.sealed)} sealed shares; {expected} are needed"
            )
        return shares

    def close(self, answers: dict[int, Shares]) -> Step:
        """Sort the sealed shares by who is to open them."""
        sharers = frozenset(answers)
        require_left(self.terms, self.cohort, sharers, sharers)
        inbox: dict[int, list[tuple[int, bytes]]] = {client: [] for client in answers}
        for sender, shares in answers.items():
            self.cohort.commitments[sender] = shares.commitment
            neighbours = [each for each in self.cohort.holders[sender] if each != sender]
            for receiver, sealed in zip(neighbours, shares.sealed, strict=True):
                if receiver in inbox:
                    inbox[receiver].append((sender, sealed))
        requests = {
            client: MaskRequest(tuple(answers), *zip(*received, strict=True)).to_bytes(self.terms.parameters.session)
            for client, received in inbox.items()
        }
        return MaskedInputStage(self.terms, self.cohort, sharers), requests


class MaskedInputStage:
    """Adds up masked vectors as they come."""

    stage = ServerStage.MASKED_INPUTS

    def __init__(self, terms: Terms, cohort: Cohort, sharers: frozenset[int]) -> None:
        self.terms, self.cohort, self.sharers = terms, cohort, sharers
        parameters = terms.parameters
        self._total_D: RingArray = np.zeros(parameters.layout.vector_length, ring_dtype(parameters.ring_bits))

    def take(self, client: int, message: bytes) -> int:  # noqa: ARG002 - a sum does not ask whose a vector is
        """Refuse a vector of another ring or length; add one that fits. Returns its bytes."""
        self._total_D += MaskedInput.read(message, self.terms.parameters).vector_D
        return len(message)

    def close(self, answers: dict[int, int]) -> Step:
        """Tell the survivors who they are."""
        alive = frozenset(answers)
        require_left(self.terms, self.cohort, self.sharers, alive)
        listing = Listing(alive, self.sharers - alive, self._total_D)
        lists = listing.lists
        session = self.terms.parameters.session
        if self.terms.roster is None:
            request = UnmaskRequest(*lists).to_bytes(session)
            return UnmaskingStage(self.terms, self.cohort, listing), dict.fromkeys(answers, request)
        request = ConfirmRequest(*lists).to_bytes(session)
        return ConfirmationStage(self.terms, self.cohort, listing, self.terms.roster), dict.fromkeys(answers, request)


@dataclass(frozen=True)
class Listing:
    """Those that have shared: whose vectors are in the masked sum, and whose are not."""

    alive: frozenset[int]
    dead: frozenset[int]
    total_D: RingArray

    @property
    def lists(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Both, in ascending order."""
        return tuple(sorted(self.alive)), tuple(sorted(self.dead))


@dataclass
class ConfirmationStage:
    """Collects the survivors' signatures, and passes them on."""

    terms: Terms
    cohort: Cohort
    listing: Listing
    roster: Mapping[int, bytes]
    stage = ServerStage.CONFIRMATIONS

    def take(self, client: int, message: bytes) -> bytes:
        """Refuse a signature that is not the client's over these survivors."""
        session = self.terms.parameters.session
        signature = Confirmation.read(message, session).signature
        signed = survivors_message(session, self.cohort.transcript, self.listing.lists[0])
        verify(self.roster[client], signature, signed, signer=client)
        return signature

    def close(self, answers: dict[int, bytes]) -> Step:
        """Show each survivor its neighbours' signatures."""
        require_left(self.terms, self.cohort, self.listing.alive | self.listing.dead, frozenset(answers))
        requests = {}
        for client in answers:
            signers = tuple(each for each in self.cohort.holders[client] if each in answers)
            message = UnmaskRequest(*self.listing.lists, signers, tuple(answers[each] for each in signers))
            requests[client] = message.to_bytes(self.terms.parameters.session)
        return UnmaskingStage(self.terms, self.cohort, self.listing), requests


@dataclass
class UnmaskingStage:
    """Collects one share of each secret from each survivor, and takes the masks out of the sum."""

    terms: Terms
    cohort: Cohort
    listing: Listing
    stage = ServerStage.UNMASKING_SHARES

    def take(self, client: int, message: bytes) -> dict[int, int]:
        """Refuse shares that are not one for each neighbour that has shared. Returns them by owner."""
        shares = UnmaskingShares.read(message, self.terms.parameters.session).shares
        sharers = self.listing.alive | self.listing.dead
        owners = [owner for owner in self.cohort.holders[client] if owner in sharers]
        if len(shares) != len(owners):
            raise MalformedMessageError(f"client {client} released {len(shares)} shares; {len(owners)} are needed")
        return dict(zip(owners, shares, strict=True))

    def close(self, answers: dict[int, dict[int, int]]) -> Step:
        """Unmask."""
        alive, dead, total_D = self.listing.alive, self.listing.dead, self.listing.total_D
        liars = unmask_total(total_D, self.cohort, alive, dead, answers, self.terms.parameters.ring_bits)
        return Unmasked(total_D, alive, liars), {}


def require_left(terms: Terms, cohort: Cohort, owners: frozenset[int], present: frozenset[int]) -> None:
    """Refuse to go on where too few are present to recover every owner's secrets, or for the minimum cohort.

    Raises:
        BelowThresholdError: says which.
    """
    terms.require_cohort(len(present))
    cohort.require_recoverable(owners, present)
