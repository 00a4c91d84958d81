"""A secret from its shares, when some of them may be lies.

A secret can be checked: a mask key against its public key, a mask seed against its commitment. Where a set of shares
gives a secret that fails, other sets are tried, first those without one share, then those without two, and so on.

A right secret does not yet say who lied: two lies may cancel out in it, and then the polynomial makes liars of the
honest. With s shares to spare, only a polynomial that at most s / 2 of the shares miss is the true one for certain
(no two such can differ), so holders are named from such a one or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, islice
from typing import NamedTuple

from fedkd.secure_aggregation import shamir

MAX_ATTEMPTS = 4000
"""Sets of shares that are tried before a secret is given up: enough for two lies at any threshold up to 80."""


class Recovered(NamedTuple):
    """A secret, and the places of the shares that are certainly lies."""

    secret: bytes
    lies: tuple[int, ...]


def recover(
    shares: Mapping[int, int],
    threshold: int,
    is_right: Callable[[bytes], bool],
    *,
    suspects: frozenset[int] = frozenset(),
) -> Recovered | None:
    """Find the secret among at least `threshold` shares, by place; `None` where no tried set gives a right one.

    Args:
        shares: by place.
        threshold: shares that give the secret back.
        is_right: whether a secret is the one that was committed to.
        suspects: places whose holders have lied before; their shares are used last.
    """
    places = sorted(shares, key=lambda place: (place in suspects, place))
    right: bytes | None = None
    for chosen in islice(_choices(places, threshold), MAX_ATTEMPTS):
        values = [shares[place] for place in chosen]
        secret = shamir.to_secret(shamir.combine(chosen, values))
        if secret is not None and is_right(secret):
            right = secret
            others = set(places) - set(chosen)
            missed = [other for other in others if shamir.combine(chosen, values, at=other) != shares[other]]
            if 2 * len(missed) <= len(others):
                return Recovered(secret, tuple(sorted(missed)))
    return None if right is None else Recovered(right, ())


def _choices(places: list[int], threshold: int) -> Iterator[tuple[int, ...]]:
    """Sets of `threshold` places: the first; those that replace one of it by later ones; two; and so on, each once."""
    spare = len(places) - threshold
    for replaced in range(spare + 1):
        first = places[: threshold + replaced]
        # the last place is always in: sets without it came before
        kept = first[-1:] if replaced else []
        pool = first[: len(first) - len(kept)]
        for left_out in combinations(pool, replaced):
            gone = set(left_out)
            yield tuple(sorted([place for place in pool if place not in gone] + kept))
