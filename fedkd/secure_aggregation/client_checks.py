"""What a client verifies in the messages it is sent. Each function raises, or returns nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from fedkd.secure_aggregation import keys
from fedkd.secure_aggregation.errors import (
    AbortedPeerError,
    BelowThresholdError,
    DigestMismatchError,
    InputError,
    KeyListError,
    ListedDeadError,
    MalformedMessageError,
    SignatureError,
    SurvivorListError,
)
from fedkd.secure_aggregation.masking import RingArray
from fedkd.secure_aggregation.messages import MaskRequest, PublicKeys, UnmaskRequest
from fedkd.secure_aggregation.packing import ring_dtype
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.transcript import advertisement_message
from fedkd.secure_aggregation.wire import Session


def check_members(members: Sequence[PublicKeys], own: PublicKeys, num_clients: int) -> None:
    """Refuse a list of keys that is too long or out of order, or holds a key twice, a weak key, or not one's own.

    Raises:
        KeyListError, LowOrderKeyError: says what is wrong.
    """
    if len(members) > num_clients:
        raise KeyListError(f"keys of {len(members)} clients; {num_clients} were invited")
    ids = [member.client for member in members]
    if ids != sorted(set(ids)):
        raise KeyListError("the members are not in ascending order, or one of them is listed twice")
    public = {member.mask_key for member in members} | {member.share_key for member in members}
    if len(public) != 2 * len(members):
        raise KeyListError("two of the members' keys are the same")
    listed = [(member.mask_key, member.share_key) for member in members if member.client == own.client]
    if listed != [(own.mask_key, own.share_key)]:
        raise KeyListError("this client's own keys are missing, or are not the ones it advertised")
    keys.require_sound(public)


def check_identity(session: Session, member: PublicKeys, roster: Mapping[int, bytes]) -> None:
    """Verify an advertisement's signature with a pinned identity.

    Raises:
        SignatureError: the client is not in the roster, or has not signed this.
    """
    if member.client not in roster:
        raise SignatureError(member.client, "it is not in the roster of pinned identities")
    signed = advertisement_message(session, member.client, member.mask_key, member.share_key)
    keys.verify(roster[member.client], member.signature, signed, signer=member.client)


def check_sharers(sharers: Sequence[int], members: Collection[int], own: int) -> None:
    """Refuse sharers that are unknown or listed twice, or that lack this client.

    Raises:
        SurvivorListError, ListedDeadError: names the client.
    """
    _require_distinct(sharers, "shared")
    if unknown := sorted(set(sharers) - set(members)):
        raise SurvivorListError(f"client {unknown[0]} is said to have shared but is no member")
    if own not in sharers:
        raise ListedDeadError(f"client {own} has shared and is listed as if it had not")


def check_sealed(message: MaskRequest, neighbours: Collection[int], members: Collection[int]) -> None:
    """Refuse sealed shares that are not one from each neighbour that has shared.

    Raises:
        SurvivorListError: a sender is listed twice, is no member, or is no neighbour.
        AbortedPeerError: a sender has left before.
        MalformedMessageError: a neighbour's share is missing.
    """
    _require_distinct(message.senders, "sent shares")
    sharers = set(message.sharers)
    if unknown := set(message.senders) - set(members):
        raise SurvivorListError(f"shares came from client {min(unknown)}, which is no member")
    if gone := set(message.senders) - sharers:
        raise AbortedPeerError(f"shares came from client {min(gone)}, which has left")
    if strange := set(message.senders) - set(neighbours):
        raise SurvivorListError(f"shares came from client {min(strange)}, which is no neighbour")
    if missing := sorted((sharers & set(neighbours)) - set(message.senders)):
        raise MalformedMessageError(f"client {missing[0]} has shared, but its shares are missing")


def check_listing(alive: Sequence[int], dead: Sequence[int], sharers: Collection[int], own: int) -> None:
    """Refuse survivors that are not a clean division of those that have shared, with this client alive.

    Raises:
        SurvivorListError, ListedDeadError: names the client.
    """
    _require_distinct(alive, "alive")
    _require_distinct(dead, "dead")
    if both := sorted(set(alive) & set(dead)):
        raise SurvivorListError(f"client {both[0]} is listed both alive and dead")
    if unknown := sorted((set(alive) | set(dead)) - set(sharers)):
        raise SurvivorListError(f"client {unknown[0]} is listed but has not shared")
    if missing := sorted(set(sharers) - set(alive) - set(dead)):
        raise SurvivorListError(f"client {missing[0]} has shared and is listed neither alive nor dead")
    if own in dead:
        raise ListedDeadError(f"client {own} is listed dead and asked to unmask")


def check_signatures(
    message: UnmaskRequest, neighbours: Collection[int], roster: Mapping[int, bytes], signed: bytes
) -> None:
    """Verify that distinct surviving neighbours have signed for these survivors.

    Raises:
        SurvivorListError: a signer is listed twice, is dead, or is no neighbour.
        SignatureError: a signature is not its signer's over these survivors.
    """
    _require_distinct(message.signers, "a signer")
    for signer, signature in zip(message.signers, message.signatures, strict=True):
        if signer not in neighbours or signer not in message.alive:
            raise SurvivorListError(f"client {signer} has signed but is dead or no neighbour")
        keys.verify(roster[signer], signature, signed, signer=signer)


def check_threshold(count: int, threshold: int, what: str) -> None:
    """Refuse to go on with too few of a neighbourhood.

    Raises:
        BelowThresholdError: fewer than the threshold.
    """
    if count < threshold:
        raise BelowThresholdError(f"{count} clients of the neighbourhood {what}; the threshold is {threshold}")


def check_digest(what: str, own: bytes, announced: bytes) -> None:
    """Refuse to work on another student or public set than was announced to all.

    Raises:
        DigestMismatchError: they differ.
    """
    if own != announced:
        raise DigestMismatchError(
            f"this client's {what} has digest {own.hex()[:12]}…; {announced.hex()[:12]}… was announced to all"
        )


def check_vector(vector_D: RingArray, parameters: SessionParameters) -> None:
    """Refuse a vector that is not what `encode` returns for these parameters.

    Raises:
        InputError: another dtype or length, or an entry so large that the sum could wrap around.
    """
    dtype, length = ring_dtype(parameters.ring_bits), parameters.layout.vector_length
    if vector_D.dtype != dtype or vector_D.shape != (length,):
        raise InputError(f"vector_D is {vector_D.dtype} {vector_D.shape}; {dtype} ({length},) is the session's")
    if int(np.max(vector_D)) > parameters.largest_entry:
        raise InputError(
            f"vector_D holds {np.max(vector_D)}; entries up to {parameters.largest_entry} cannot wrap around"
        )


def _require_distinct(clients: Sequence[int], what: str) -> None:
    if len(set(clients)) != len(clients):
        twice = next(client for client in clients if clients.count(client) > 1)
        raise SurvivorListError(f"client {twice} is listed twice as {what}")
