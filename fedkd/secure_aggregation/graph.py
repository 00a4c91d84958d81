"""Who masks with whom, and how many shares give a secret back.

Below 64 clients everybody masks with everybody. Above, clients stand on a ring in random order and mask with the k
nearest (a Harary graph; Bell et al., CCS 2020). k and the threshold t are the smallest for which, over random orders,

- the honest clients that stay fall apart with probability below 2^-(s + 1) (a sum over each part would be revealed),
- a client's neighbourhood holds enough adversaries to break it with probability below 2^-(s + 1) / n,
- a client's neighbourhood keeps fewer than t clients with probability below 2^-20 / n.

Against a curious server s = 40. An active server may choose among many sets of keys, and so among orders, until one
suits it; s = 80 allows it 2^40 attempts.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import chain

from fedkd.secure_aggregation.errors import ParameterError
from fedkd.secure_aggregation.parameters import Trust

COMPLETE_BELOW = 64
ADVERSARIAL_FRACTION = Fraction(1, 5)
DROPOUT_FRACTION = Fraction(1, 10)
_SECURITY_BITS = {"curious": 40, "active": 80}
_CORRECTNESS_BITS = 20


@dataclass(frozen=True)
class Topology:
    """The neighbourhoods of one round.

    Attributes:
        num_neighbours: k; a client shares its secrets with k others and itself.
        threshold: t; so many shares give a secret back.
    """

    num_neighbours: int
    threshold: int

    @property
    def num_shares(self) -> int:
        """K + 1: a client keeps a share of its own secrets."""
        return self.num_neighbours + 1


def smallest_threshold(num_shares: int, trust: Trust) -> int:
    """The least threshold a client accepts: more than half; two thirds, rounded up, against an active server."""
    return num_shares // 2 + 1 if trust == "curious" else -(-2 * num_shares // 3)


def complete_topology(num_clients: int, trust: Trust) -> Topology:
    """Everybody is everybody's neighbour."""
    return Topology(num_clients - 1, smallest_threshold(num_clients, trust))


@lru_cache(maxsize=256)
def choose_topology(num_clients: int, trust: Trust) -> Topology:
    """The topology for so many clients; complete where no smaller neighbourhood is safe.

    Raises:
        ParameterError: fewer than two clients.
    """
    if num_clients < 2:
        raise ParameterError(f"num_clients = {num_clients} is not allowed: at least 2")
    sparse = None if num_clients < COMPLETE_BELOW else harary_topology(num_clients, trust)
    return sparse or complete_topology(num_clients, trust)


def harary_topology(num_clients: int, trust: Trust) -> Topology | None:
    """The smallest safe random Harary graph, or `None` where only the complete graph is safe."""
    kept = math.ceil((1 - DROPOUT_FRACTION) * num_clients)
    for num_neighbours in range(2, num_clients - 1, 2):
        if _disconnection(num_clients, num_neighbours) >= Fraction(1, 2 ** (_SECURITY_BITS[trust] + 1)):
            continue
        threshold = _safe_threshold(num_clients, num_neighbours, trust)
        allowed = Fraction(1, 2**_CORRECTNESS_BITS * num_clients)
        if num_neighbours - threshold >= _rarely_reached(num_clients, num_clients - kept, num_neighbours, allowed) - 1:
            return Topology(num_neighbours, threshold)
    return None


def neighbourhoods(clients: Sequence[int], num_neighbours: int, seed: bytes) -> dict[int, tuple[int, ...]]:
    """For every client itself and its neighbours, in ascending order, on a ring whose order the seed decides."""
    return _neighbourhoods(tuple(clients), num_neighbours, seed)


@lru_cache(maxsize=8)
def _neighbourhoods(clients: tuple[int, ...], num_neighbours: int, seed: bytes) -> dict[int, tuple[int, ...]]:
    if num_neighbours == len(clients) - 1:
        return dict.fromkeys(clients, tuple(sorted(clients)))
    ring = sorted(clients, key=lambda client: hashlib.sha256(seed + client.to_bytes(4, "little")).digest())
    half = num_neighbours // 2
    padded = list(chain(ring[-half:], ring, ring[:half]))
    return {client: tuple(sorted(padded[at : at + num_neighbours + 1])) for at, client in enumerate(ring)}


def _disconnection(num_clients: int, num_neighbours: int) -> Fraction:
    """Bounds the probability that clients that leave or are adversaries cut the ring in two places.

    A cut is k/2 of them in a row; there are n (n − k − 1) / 2 pairs of places.
    """
    gone = math.floor(ADVERSARIAL_FRACTION * num_clients) + math.floor(DROPOUT_FRACTION * num_clients)
    pairs = Fraction(num_clients * (num_clients - num_neighbours - 1), 2)
    return pairs * Fraction(math.comb(gone, num_neighbours), math.comb(num_clients, num_neighbours))


def _safe_threshold(num_clients: int, num_neighbours: int, trust: Trust) -> int:
    """The smallest threshold that the adversaries of no neighbourhood reach, but for the allowed probability.

    A curious server needs t adversaries. An active one can ask honest holders for either secret of a client, and gets
    both once 2t ≤ k + 1 + adversaries.
    """
    adversaries = math.floor(ADVERSARIAL_FRACTION * num_clients)
    allowed = Fraction(1, 2 ** (_SECURITY_BITS[trust] + 1) * num_clients)
    enough = _rarely_reached(num_clients, adversaries, num_neighbours, allowed)
    rule = smallest_threshold(num_neighbours + 1, trust)
    if trust == "curious":
        return max(enough, rule)
    return max((num_neighbours + 1 + enough + 1) // 2, rule)


def _rarely_reached(population: int, marked: int, drawn: int, allowed: Fraction) -> int:
    """The smallest x such that x or more of those drawn are marked with at most the allowed probability.

    Draws are without replacement (hypergeometric); integers keep it exact.
    """
    budget = allowed * math.comb(population, drawn)
    ways, reached = 0, min(marked, drawn) + 1
    while ways <= budget:
        reached -= 1
        ways += math.comb(marked, reached) * math.comb(population - marked, drawn - reached)
    return reached + 1
