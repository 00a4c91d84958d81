"""A secret from its shares, when some of them may be lies.

A secret can be checked: a mask key against its public key, a mask seed against its commitment. Where a set of shares
gives a secret that fails, other sets are tried, first those without one share, then those without two, and so on.
Once a set gives the right secret, each share beside the polynomial through it is a lie, and names its holder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import combinations, islice
from typing import NamedTuple

from fedkd.secure_aggregation import shamir

MAX_ATTEMPTS = 4000
"""Sets of shares that are tried before a secret is given up; with s spare shares this finds any few lies."""


class Recovered(NamedTuple):
    """A secret, and the places of the shares that do not fit it."""

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
    for chosen in islice(_choices(places, threshold), MAX_ATTEMPTS):
        values = [shares[place] for place in chosen]
        secret = shamir.to_secret(shamir.combine(chosen, values))
        if secret is not None and is_right(secret):
            others = set(places) - set(chosen)
            lies = [other for other in others if shamir.combine(chosen, values, at=other) != shares[other]]
            return Recovered(secret, tuple(sorted(lies)))
    return None


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
