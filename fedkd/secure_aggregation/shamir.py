"""Shamir's secret sharing over the prime field of p = 2^256 + 297, which holds any 32-byte secret.

Shares are the values of a random polynomial at x = 1, 2, …; x is a holder's place among the holders and is not sent.
Lagrange coefficients are cached: most secrets of a round are recovered from the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from operator import mul

from fedkd.secure_aggregation import randomness

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33
_SURPLUS = 16
"""More bytes than the field needs, so that reduction modulo p leaves a bias below 2^-127."""


def split(secret: bytes, *, threshold: int, num_shares: int) -> list[int]:
    """Split a 32-byte secret: any `threshold` of the `num_shares` shares give it back, fewer say nothing about it.

    What is drawn are the polynomial's differences at 0, which are its coefficients over the binomials C(x, k). They
    decide it as those over x^k do, one to one, so uniform ones make a uniform polynomial; and its values at 0, 1, 2, …
    are running sums of them, without a multiplication.
    """
    drawn = randomness.token_bytes((threshold - 1) * (SECRET_BYTES + _SURPLUS))
    width = SECRET_BYTES + _SURPLUS
    differences = [int.from_bytes(secret, "big")]
    differences += [int.from_bytes(drawn[at : at + width], "big") % PRIME for at in range(0, len(drawn), width)]
    values = [differences.pop()] * (num_shares - threshold + 2)
    while differences:
        values = list(accumulate(values, initial=differences.pop()))
    return [value % PRIME for value in values[1:]]


def combine(places: Sequence[int], shares: Sequence[int], *, at: int = 0) -> int:
    """The value at `at` of the polynomial through these shares: at 0 the secret, elsewhere what a share should be."""
    return _dot(shares, lagrange_coefficients(tuple(places), at))


def to_secret(value: int) -> bytes | None:
    """A field element as 32 bytes, or `None` for the few elements that are no 32-byte secret."""
    return value.to_bytes(SECRET_BYTES, "big") if value < 1 << 8 * SECRET_BYTES else None


@lru_cache(maxsize=4096)
def lagrange_coefficients(places: tuple[int, ...], at: int) -> tuple[int, ...]:
    """Coefficients with which shares at distinct places sum to the polynomial's value at `at`."""
    coefficients = []
    for own in places:
        numerator = denominator = 1
        for other in places:
            if other != own:
                numerator = numerator * (at - other) % PRIME
                denominator = denominator * (own - other) % PRIME
        coefficients.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return tuple(coefficients)


def _dot(left: Sequence[int], right: Sequence[int]) -> int:
    total: int = sum(map(mul, left, right))
    return total % PRIME
