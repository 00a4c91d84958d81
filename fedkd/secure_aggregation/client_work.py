"""What a client computes: shares of its secrets, the neighbours' shares opened, its input masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fedkd.secure_aggregation import keys, randomness, shamir
from fedkd.secure_aggregation.client_state import ClientState, Secrets, Stage
from fedkd.secure_aggregation.errors import ShareDecryptionError
from fedkd.secure_aggregation.graph import neighbourhoods
from fedkd.secure_aggregation.masking import SEED_BYTES, Mask, RingArray, apply_masks, pairwise_mask
from fedkd.secure_aggregation.messages import MaskRequest, ShareRequest, Shares
from fedkd.secure_aggregation.packing import reduce
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.transcript import cohort_digest, graph_seed, seed_commitment, transcript_digest


def share_secrets(own: int, state: ClientState, message: ShareRequest) -> tuple[ClientState, Shares]:
    """Draw the seed of the client's own mask; share it and the private mask key with the neighbours and itself."""
    members = {member.client: member for member in message.members}
    cohort = cohort_digest(message.parameters, [each[:3] for each in message.members])
    transcript = transcript_digest(cohort, message.topology)
    holders = neighbourhoods(tuple(members), message.topology.num_neighbours, graph_seed(cohort))[own]
    seed = randomness.token_bytes(SEED_BYTES)
    sharing = {"threshold": message.topology.threshold, "num_shares": len(holders)}
    pairs = zip(shamir.split(seed, **sharing), shamir.split(state.secrets.mask_private, **sharing), strict=True)
    agreement = keys.Agreement(state.secrets.share_private)
    opening_keys: dict[int, bytes] = {}
    own_shares: dict[int, tuple[int, int]] = {}
    sealed = []
    for holder, pair in zip(holders, pairs, strict=True):
        if holder == own:
            own_shares[own] = pair
            continue
        there, back = keys.encryption_label(transcript, own, holder), keys.encryption_label(transcript, holder, own)
        sealing_key, opening_keys[holder] = agreement.derive(members[holder].share_key, there, back)
        sealed.append(keys.seal(sealing_key, _pair_to_bytes(pair), there))
    after = replace(
        state,
        stage=Stage.SHARED,
        parameters=message.parameters,
        transcript=transcript,
        threshold=message.topology.threshold,
        members=tuple(members),
        mask_keys={peer: members[peer].mask_key for peer in opening_keys},
        secrets=Secrets(
            mask_private=state.secrets.mask_private, self_seed=seed, opening_keys=opening_keys, shares=own_shares
        ),
    )
    return after, Shares(seed_commitment(transcript, own, seed), tuple(sealed))


def open_shares(own: int, state: ClientState, message: MaskRequest) -> dict[int, tuple[int, int]]:
    """Decrypt the shares that neighbours have sealed for this client, beside its own, in ascending order of owners.

    Raises:
        ShareDecryptionError: names the sender.
    """
    shares = dict(state.secrets.shares)
    for sender, sealed in zip(message.senders, message.sealed, strict=True):
        label = keys.encryption_label(state.transcript, sender, own)
        opened = keys.unseal(state.secrets.opening_keys[sender], sealed, label, sender=sender)
        shares[sender] = _pair_from_bytes(opened, sender)
    return dict(sorted(shares.items()))


def mask_vector(
    own: int, state: ClientState, vector_D: RingArray, peers: Sequence[int], parameters: SessionParameters
) -> RingArray:
    """A copy of the vector under the client's own mask and one mask for each peer."""
    agreement = keys.Agreement(state.secrets.mask_private)
    masks = [Mask(self_mask_seed(state.secrets.self_seed, state.transcript))]
    for peer in peers:
        (seed,) = agreement.derive(state.mask_keys[peer], keys.mask_label(state.transcript, own, peer))
        masks.append(pairwise_mask(seed, own, peer))
    masked = vector_D.copy()
    apply_masks(masked, masks)
    reduce(masked, parameters.ring_bits)
    return masked


def self_mask_seed(seed: bytes, transcript: bytes) -> bytes:
    """What a client's own mask is expanded from."""
    return keys.derive_key(seed, keys.SELF_MASK + transcript)


def _pair_to_bytes(pair: tuple[int, int]) -> bytes:
    seed_share, key_share = pair
    return seed_share.to_bytes(shamir.SHARE_BYTES, "big") + key_share.to_bytes(shamir.SHARE_BYTES, "big")


def _pair_from_bytes(opened: bytes, sender: int) -> tuple[int, int]:
    seed_share = int.from_bytes(opened[: shamir.SHARE_BYTES], "big")
    key_share = int.from_bytes(opened[shamir.SHARE_BYTES :], "big")
    if max(seed_share, key_share) >= shamir.PRIME:
        raise ShareDecryptionError(sender, "its encrypted share is no element of the field")
    return seed_share, key_share
