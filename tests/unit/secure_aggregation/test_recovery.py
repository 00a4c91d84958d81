"""Secrets come back from any threshold of true shares, whatever the others are, and only certain liars are named."""

from __future__ import annotations

import hashlib
from itertools import combinations

import pytest

from fedkd.secure_aggregation import shamir
from fedkd.secure_aggregation.recovery import MAX_ATTEMPTS, _choices, recover

SECRET = bytes(range(32))


def shares_of(threshold, num_shares, lies=None):
    shares = dict(enumerate(shamir.split(SECRET, threshold=threshold, num_shares=num_shares), 1))
    return shares | {place: (shares[place] + lie) % shamir.PRIME for place, lie in (lies or {}).items()}


def is_right(secret):
    return hashlib.sha256(secret).digest() == hashlib.sha256(SECRET).digest()


@pytest.mark.parametrize("liars", [(), (1,), (4,), (11,), (1, 2), (3, 11), (1, 2, 3)])
def test_liars_are_named(liars):
    found = recover(shares_of(5, 11, {place: 12345 + place for place in liars}), 5, is_right)
    assert found == (SECRET, liars)


def test_more_lies_than_can_be_told_apart_name_nobody():
    found = recover(shares_of(5, 9, {1: 7, 2: 8, 3: 9, 4: 10}), 5, is_right)
    assert found == (SECRET, ())


def test_lies_that_cancel_out_make_no_liars_of_the_honest():
    first, second = shamir.lagrange_coefficients((1, 2, 3, 4, 5), 0)[:2]
    cancelling = {1: second, 2: -first}  # first · second − second · first: the secret is right all the same
    assert recover(shares_of(5, 6, cancelling), 5, is_right) == (SECRET, ())
    assert recover(shares_of(5, 9, cancelling), 5, is_right) == (SECRET, (1, 2))


def test_shares_that_fit_no_secret_give_none():
    assert recover(shares_of(4, 5, dict.fromkeys(range(1, 6), 1)), 4, is_right) is None


def test_shares_of_suspects_are_used_last():
    lies, tried = {1: 1, 2: 2}, []

    def counting(secret):
        tried.append(secret)
        return is_right(secret)

    assert recover(shares_of(4, 8, lies), 4, counting, suspects=frozenset(lies)) == (SECRET, (1, 2))
    assert len(tried) == 1


@pytest.mark.parametrize(("count", "threshold"), [(5, 5), (7, 4), (8, 2), (4, 1)])
def test_every_set_is_tried_once(count, threshold):
    places = list(range(1, count + 1))
    assert sorted(_choices(places, threshold)) == sorted(combinations(places, threshold))


def test_two_lies_are_found_within_the_allowed_attempts():
    assert sum(1 for _ in zip(range(MAX_ATTEMPTS + 1), _choices(list(range(82)), 80), strict=False)) <= MAX_ATTEMPTS
