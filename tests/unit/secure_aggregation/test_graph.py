"""The graph: its published parameters, its probabilities against an independent library, and its shape."""

from __future__ import annotations

import math

import pytest
from scipy.stats import hypergeom

from fedkd.secure_aggregation import errors
from fedkd.secure_aggregation.graph import (
    Topology,
    choose_topology,
    complete_topology,
    harary_topology,
    neighbourhoods,
    smallest_threshold,
)


@pytest.mark.parametrize(("num_clients", "num_neighbours", "threshold"), [(50, 16, 11), (100, 32, 21), (1000, 68, 44)])
def test_published_parameters_come_out(num_clients, num_neighbours, threshold):
    assert harary_topology(num_clients, "curious") == Topology(num_neighbours, threshold)


@pytest.mark.parametrize("trust", ["curious", "active"])
@pytest.mark.parametrize("num_clients", [64, 100, 333, 1000])
def test_parameters_are_as_rare_to_fail_as_they_say(num_clients, trust):
    topology = harary_topology(num_clients, trust)
    k, t = topology.num_neighbours, topology.threshold
    security = 2.0 ** -(41 if trust == "curious" else 81)
    adversaries, leaving = math.floor(num_clients / 5), math.floor(num_clients / 10)
    broken = t if trust == "curious" else 2 * t - (k + 1)  # adversaries that a neighbourhood is broken with
    assert hypergeom.sf(broken - 1, num_clients, adversaries, k) * num_clients <= security
    assert hypergeom.sf(k - t, num_clients, leaving, k) * num_clients <= 2.0**-20
    assert smallest_threshold(k + 1, trust) <= t <= k + 1
    cuts = num_clients * (num_clients - k - 1) / 2
    assert cuts * hypergeom.pmf(k, num_clients, adversaries + leaving, k) < security


def test_active_server_asks_for_more():
    for num_clients in (64, 100, 1000):
        curious, active = harary_topology(num_clients, "curious"), harary_topology(num_clients, "active")
        assert active.num_neighbours > curious.num_neighbours
        assert active.threshold * curious.num_shares > curious.threshold * active.num_shares


def test_small_cohorts_are_complete():
    assert choose_topology(63, "curious") == Topology(62, 32) == complete_topology(63, "curious")
    assert choose_topology(63, "active") == Topology(62, 42)
    assert choose_topology(64, "curious").num_neighbours < 63
    assert harary_topology(5, "active") is None


def test_one_client_makes_no_graph():
    with pytest.raises(errors.ParameterError, match="num_clients = 1"):
        choose_topology(1, "curious")


def test_ring_is_regular_symmetric_connected_and_random():
    clients = tuple(range(100, 300))
    hoods = neighbourhoods(clients, 10, b"seed" * 8)
    assert set(hoods) == set(clients)
    for client, hood in hoods.items():
        assert list(hood) == sorted(set(hood))
        assert len(hood) == 11
        assert client in hood
        assert all(client in hoods[peer] for peer in hood)
    reached, frontier = {100}, {100}
    while frontier:
        frontier = set().union(*(hoods[client] for client in frontier)) - reached
        reached |= frontier
    assert reached == set(clients)
    assert hoods != neighbourhoods(clients, 10, b"tree" * 8)
    assert hoods == neighbourhoods(clients, 10, b"seed" * 8)


def test_neighbours_are_drawn_evenly():
    clients, met = tuple(range(30)), [0] * 30
    for seed in range(600):
        for peer in neighbourhoods(clients, 6, seed.to_bytes(32, "big"))[0]:
            met[peer] += 1
    assert met[0] == 600
    expected = 600 * 6 / 29
    chi_square = sum((count - expected) ** 2 / expected for count in met[1:])
    assert chi_square < 70  # 28 degrees of freedom, drawn without replacement; the seeds are fixed
