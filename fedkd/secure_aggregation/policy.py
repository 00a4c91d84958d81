"""What a client insists on, whatever the server proposes."""

from __future__ import annotations

from dataclasses import dataclass

from fedkd.secure_aggregation.errors import AdjacentCohortError, BelowThresholdError, ParameterError, PolicyError
from fedkd.secure_aggregation.graph import Topology, choose_topology, complete_topology
from fedkd.secure_aggregation.parameters import SessionParameters, Trust


@dataclass(frozen=True)
class ClientPolicy:
    """A client's own terms.

    Attributes:
        trust: the server it defends against. One that defends against an active server takes part in no other sum.
        clipping_range: the clipping range it uses.
        value_bits, weight_bits: the precision it uses.
        minimum_cohort: it reveals nothing for a sum over fewer clients.
        refuse_adjacent_cohorts: whether it refuses a cohort that differs from the last one by one client.

    Raises:
        ParameterError: minimum_cohort below 2, for a sum over one is that one's input.
    """

    trust: Trust
    clipping_range: float
    value_bits: int
    weight_bits: int
    minimum_cohort: int = 3
    refuse_adjacent_cohorts: bool = False

    def __post_init__(self) -> None:
        if self.minimum_cohort < 2:
            raise ParameterError(f"minimum_cohort = {self.minimum_cohort} is not allowed: at least 2")

    def check_parameters(self, parameters: SessionParameters) -> None:
        """Compare proposed parameters with the client's own.

        Raises:
            PolicyError: names the first that differs.
        """
        for name in ("trust", "clipping_range", "value_bits", "weight_bits"):
            proposed, own = getattr(parameters, name), getattr(self, name)
            if proposed != own:
                raise PolicyError(f"the server proposes {name} = {proposed!r}; this client's policy has {own!r}")

    def check_topology(self, topology: Topology, num_clients: int) -> None:
        """Refuse a cohort too small, a graph too sparse, a threshold too low.

        Raises:
            BelowThresholdError: fewer clients than the minimum cohort.
            PolicyError: names what falls short.
        """
        self.check_cohort(num_clients)
        accepted = {complete_topology(num_clients, self.trust), choose_topology(num_clients, self.trust)}
        least = {each.num_neighbours: each.threshold for each in accepted}
        if topology.num_neighbours not in least:
            raise PolicyError(
                f"num_neighbours = {topology.num_neighbours} is not allowed for {num_clients} clients against the "
                f"{self.trust} server: {' or '.join(map(str, sorted(least)))}"
            )
        if not least[topology.num_neighbours] <= topology.threshold <= topology.num_shares:
            raise PolicyError(
                f"reconstruction_threshold = {topology.threshold} is not allowed for {topology.num_shares} shares "
                f"against the {self.trust} server: {least[topology.num_neighbours]} to {topology.num_shares}"
            )

    def check_cohort(self, num_clients: int) -> None:
        """Refuse a sum over too few.

        Raises:
            BelowThresholdError: fewer than the minimum cohort.
        """
        if num_clients < self.minimum_cohort:
            raise BelowThresholdError(f"{num_clients} clients; this client's minimum cohort is {self.minimum_cohort}")

    def check_adjacent(self, alive: frozenset[int], previous: frozenset[int]) -> None:
        """Refuse, where asked to, a cohort that differs from the last one by one client.

        Raises:
            AdjacentCohortError: names the client.
        """
        if self.refuse_adjacent_cohorts and (client := adjacent_client(alive, previous)) is not None:
            raise AdjacentCohortError(f"the cohort differs from the last round's by client {client} alone")


def adjacent_client(alive: frozenset[int], previous: frozenset[int]) -> int | None:
    """The one client by which two cohorts differ, or `None` where they differ by none or by more."""
    difference = alive ^ previous
    return next(iter(difference)) if len(difference) == 1 and previous else None
