"""From a sum of masked vectors to the sum: recover the secrets of masks that are left in it, and take them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedkd.secure_aggregation import keys
from fedkd.secure_aggregation.client_work import self_mask_seed
from fedkd.secure_aggregation.errors import BelowThresholdError, UnrecoverableSecretError
from fedkd.secure_aggregation.masking import Mask, RingArray, apply_masks, pairwise_mask
from fedkd.secure_aggregation.packing import reduce
from fedkd.secure_aggregation.recovery import recover
from fedkd.secure_aggregation.transcript import seed_commitment


@dataclass(frozen=True)
class Cohort:
    """The members of a round as its server knows them.

    Attributes:
        threshold: shares that give a secret back.
        transcript: of this round.
        holders: for every member itself and its neighbours, in ascending order; a holder's place in it, from 1, is
            where the owner's polynomial was evaluated for it.
        mask_keys: public mask keys.
        commitments: to mask seeds, of those that have shared.
    """

    threshold: int
    transcript: bytes
    holders: dict[int, tuple[int, ...]]
    mask_keys: dict[int, bytes]
    commitments: dict[int, bytes] = field(default_factory=dict)

    def require_recoverable(self, owners: frozenset[int], present: frozenset[int]) -> None:
        """Refuse to go on where a secret could no longer be recovered from those present.

        Raises:
            BelowThresholdError: names the owner.
        """
        for owner in sorted(owners):
            count = len(present.intersection(self.holders[owner]))
            if count < self.threshold:
                raise BelowThresholdError(
                    f"{count} of the {len(self.holders[owner])} clients that hold shares of client {owner}'s secrets "
                    f"are left; the threshold is {self.threshold}"
                )


def unmask_total(
    total_D: RingArray,
    cohort: Cohort,
    alive: frozenset[int],
    dead: frozenset[int],
    released: Mapping[int, Mapping[int, int]],
    ring_bits: int,
) -> frozenset[int]:
    """Take every mask out of a sum, in place.

    Args:
        total_D: the sum of the masked vectors of those alive.
        cohort: the round's members.
        alive: whose vectors are in the sum.
        dead: who has shared, and so left pairwise masks in it, but sent no vector.
        released: by holder, the shares it released, by owner.
        ring_bits: m.

    Returns:
        The holders whose shares were lies.

    Raises:
        BelowThresholdError, UnrecoverableSecretError: name the owner; the sum is left masked.
    """
    cohort.require_recoverable(alive | dead, frozenset(released))
    liars: frozenset[int] = frozenset()
    masks: list[Mask] = []
    for owner in sorted(alive | dead):
        secret, lying = _recover_secret(cohort, owner, owner in alive, released, liars)
        liars |= lying
        if owner in alive:
            masks.append(Mask(self_mask_seed(secret, cohort.transcript), negative=True))
        else:
            masks += _left_by(owner, secret, cohort, alive)
    apply_masks(total_D, masks)
    reduce(total_D, ring_bits)
    return liars


def _left_by(owner: int, private: bytes, cohort: Cohort, alive: frozenset[int]) -> list[Mask]:
    """What undoes the survivors' halves of the masks that they share with a client that has gone."""
    agreement = keys.Agreement(private)
    masks = []
    for peer in cohort.holders[owner]:
        if peer in alive:
            (seed,) = agreement.derive(cohort.mask_keys[peer], keys.mask_label(cohort.transcript, owner, peer))
            masks.append(pairwise_mask(seed, peer, owner).inverse())
    return masks


def _recover_secret(
    cohort: Cohort, owner: int, alive: bool, released: Mapping[int, Mapping[int, int]], liars: frozenset[int]
) -> tuple[bytes, frozenset[int]]:
    def is_right(secret: bytes) -> bool:
        if alive:
            return seed_commitment(cohort.transcript, owner, secret) == cohort.commitments[owner]
        return keys.public_key(secret) == cohort.mask_keys[owner]

    holders = cohort.holders[owner]
    shares = {place: released[holder][owner] for place, holder in enumerate(holders, 1) if holder in released}
    suspects = frozenset(place for place, holder in enumerate(holders, 1) if holder in liars)
    found = recover(shares, cohort.threshold, is_right, suspects=suspects)
    if found is None:
        what = "commitment" if alive else "public key"
        raise UnrecoverableSecretError(owner, f"its shares give no secret that fits its {what}")
    return found.secret, frozenset(holders[place - 1] for place in found.lies)
