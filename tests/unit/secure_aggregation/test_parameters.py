"""Parameters: what is allowed, the capacity of the ring, and the policy's own rules."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkd.secure_aggregation import ClientPolicy, Session, VectorLayout, errors, smallest_ring_bits
from fedkd.secure_aggregation.graph import Topology
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.wire import Reader


@given(st.integers(2, 2000), st.integers(1, 24), st.integers(1, 24))
def test_smallest_ring_holds_the_largest_sum_and_no_smaller_one_does(num_clients, value_bits, weight_bits):
    largest = num_clients * (2**value_bits - 1) * (2**weight_bits - 1)
    bits = smallest_ring_bits(num_clients, value_bits, weight_bits)
    assert largest < 2**bits
    assert bits == 8 or largest >= 2 ** (bits - 1)


def test_published_capacities():
    assert smallest_ring_bits(50, 16, 10) == 32  # fifty clients in 32 bits: 16 bits leave 10 for weights,
    assert smallest_ring_bits(50, 16, 11) == 33
    assert smallest_ring_bits(50, 26, 1) == 32  # and without weights 26
    assert smallest_ring_bits(50, 27, 1) == 33


def test_ring_that_could_wrap_around_is_refused_by_name(parameters):
    with pytest.raises(errors.CapacityError, match=r"2\^16 − 1.*needs ring_bits ≥ 23; ring_bits = 22"):
        parameters(100, value_bits=16, weight_bits=1, ring_bits=22)


def test_clipped_values_that_could_wrap_around_are_refused(parameters):
    with pytest.raises(errors.CapacityError, match="may clip up to 100 values"):
        parameters(5, value_bits=1, weight_bits=1, ring_bits=8, layout=VectorLayout(1, 100))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"session": Session("run", 0)}, "server_round = 0"),
        ({"session": Session("run", 1, -1)}, "group = -1"),
        ({"num_clients": 1}, "num_clients = 1"),
        ({"ring_bits": 7}, "ring_bits = 7"),
        ({"ring_bits": 65}, "ring_bits = 65"),
        ({"value_bits": 0}, "value_bits = 0"),
        ({"weight_bits": 33}, "weight_bits = 33"),
        ({"trust": "blind"}, "trust = 'blind' is not allowed: one of curious, active"),
        ({"clipping_range": 0.0}, "clipping_range = 0.0"),
        ({"clipping_range": math.nan}, "clipping_range = nan"),
        ({"clipping_range": math.inf}, "clipping_range = inf"),
        ({"public_set_digest": b"short"}, "public_set_digest has 5 bytes"),
        ({"student_digest": b""}, "student_digest has 0 bytes"),
    ],
)
def test_value_that_is_not_allowed_is_named(parameters, changes, match):
    with pytest.raises(errors.ParameterError, match=match):
        replace(parameters(5, ring_bits=64), **changes)


@pytest.mark.parametrize("shape", [(0, 1), (1, 0), (1, 1, -1), (2**20, 2**20), (2**30, 1)])
def test_layout_that_is_not_allowed_is_refused(shape):
    with pytest.raises(errors.ParameterError, match="is not allowed"):
        VectorLayout(*shape)


def test_parameters_pass_through_bytes(parameters):
    terms = parameters(7, session=Session("ein Lauf, größer", 9, 4), trust="active", layout=VectorLayout(3, 5, 2))
    reader = Reader(terms.to_bytes())
    assert SessionParameters.read(reader) == terms
    reader.finish()


def test_bytes_that_name_no_trust_or_run_are_refused(parameters):
    written = parameters(7).to_bytes()
    at = 4 + len("run") + 12
    assert written[at] == 0
    for forged in (bytes([*written[:at], 2, *written[at + 1 :]]), bytes([*written[:4], 0xFF, *written[5:]])):
        with pytest.raises(errors.MalformedMessageError, match=r"trust = 2|UTF-8"):
            SessionParameters.read(Reader(forged))


def test_a_cohort_of_one_is_never_enough():
    with pytest.raises(errors.ParameterError, match="minimum_cohort = 1"):
        ClientPolicy("curious", 4.0, 10, 4, minimum_cohort=1)


@pytest.mark.parametrize(
    ("trust", "num_clients", "topology", "fits"),
    [
        ("curious", 5, Topology(4, 3), True),
        ("curious", 5, Topology(4, 2), False),  # t > n / 2
        ("curious", 4, Topology(3, 2), False),
        ("active", 6, Topology(5, 4), True),
        ("active", 6, Topology(5, 3), False),  # t ≥ ⌈2n / 3⌉
        ("active", 7, Topology(6, 4), False),
        ("active", 7, Topology(6, 5), True),
        ("curious", 100, Topology(32, 21), True),
        ("curious", 100, Topology(32, 20), False),
        ("curious", 100, Topology(30, 21), False),
        ("curious", 100, Topology(99, 51), True),
        ("active", 100, Topology(32, 22), False),  # a curious server's graph
    ],
)
def test_policy_asks_for_enough_shares(trust, num_clients, topology, fits):
    policy = ClientPolicy(trust, 4.0, 10, 4)
    if fits:
        policy.check_topology(topology, num_clients)
        return
    with pytest.raises(errors.PolicyError):
        policy.check_topology(topology, num_clients)


def test_policy_asks_for_a_minimum_cohort():
    with pytest.raises(errors.BelowThresholdError, match="minimum cohort is 6"):
        ClientPolicy("curious", 4.0, 10, 4, minimum_cohort=6).check_topology(Topology(4, 3), 5)
