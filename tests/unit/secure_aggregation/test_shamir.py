"""Shares of a secret, checked against Newton's interpolation by hand and against uniformity."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkd.secure_aggregation import randomness, shamir


def newton_at_zero(points):
    """The interpolating polynomial's value at zero by divided differences: another way than Lagrange's."""
    places, table = [x for x, _ in points], [y for _, y in points]
    for order in range(1, len(points)):
        for at in range(len(points) - 1, order - 1, -1):
            gap = places[at] - places[at - order]
            table[at] = (table[at] - table[at - 1]) * pow(gap, shamir.PRIME - 2, shamir.PRIME) % shamir.PRIME
    value = 0
    for place, difference in zip(reversed(places), reversed(table), strict=True):
        value = (value * -place + difference) % shamir.PRIME
    return value


def test_prime_is_prime():
    candidate = shamir.PRIME
    odd, twos = candidate - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41):  # Miller and Rabin
        power = pow(base, odd, candidate)
        assert power in (1, candidate - 1) or any(
            (power := power * power % candidate) == candidate - 1 for _ in range(twos - 1)
        )


@given(st.binary(min_size=32, max_size=32), st.integers(1, 6), st.integers(0, 2))
def test_any_threshold_of_shares_gives_the_secret_back(secret, threshold, spare):
    shares = list(enumerate(shamir.split(secret, threshold=threshold, num_shares=threshold + spare), 1))
    for chosen in combinations(shares, threshold):
        value = shamir.combine([place for place, _ in chosen], [share for _, share in chosen])
        assert value == newton_at_zero(chosen)
        assert shamir.to_secret(value) == secret


def test_fewer_shares_fit_any_secret():
    shares = shamir.split(b"a" * 32, threshold=3, num_shares=4)[:2]
    for secret in (0, 1, 2**255):  # there is a polynomial through two shares and any third value
        completed = shamir.combine([0, 1, 2], [secret, *shares], at=3)
        assert shamir.combine([1, 2, 3], [*shares, completed]) == secret


def test_coefficients_come_from_the_secret_source(monkeypatch):
    drawn = []
    monkeypatch.setattr(randomness, "token_bytes", lambda count: drawn.append(count) or bytes(count - 1) + b"\1")
    assert shamir.split(bytes(31) + b"\5", threshold=2, num_shares=3) == [6, 7, 8]  # 5 + 1·x
    assert drawn == [48]


@pytest.mark.parametrize("value", [2**256, shamir.PRIME - 1])
def test_field_elements_beyond_32_bytes_are_no_secret(value):
    assert shamir.to_secret(value) is None
    assert shamir.to_secret(2**256 - 1) == b"\xff" * 32
