"""The server's part of secure aggregation between Flower's grid and the protocol: a round's sum, or why it failed.

invite → for each group a sum → (one exchange a stage, of all groups together) → decode → compare the groups' means
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from flwr.serverapp import Grid

from fedkd.config.combinations import FEWEST_GROUPS
from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import SecureAggregationError
from fedkd.federation.secure.exchange import REASON, Exchange, Invitation, OpenSum, SecureRound
from fedkd.federation.secure.identities import ROSTER, read_roster
from fedkd.federation.secure.messages import instruction_digest, student_digest
from fedkd.federation.secure.vector import VectorPlan, join_groups, plan_of
from fedkd.federation.workspace import Workspace
from fedkd.methods import Method
from fedkd.records import Refusal
from fedkd.secure_aggregation import BelowThresholdError, SecureServer, Session, SumResult, adjacent_client
from fedkd.seeding import numpy_rng


class SecureRounds:
    """Secure sums: one a round, or one for each group of a round's clients.

    Args:
        config: the experiment.
        method: its method, whose aggregator is a mean, or compares the means of groups.
        workspace: the server's data.
        on_reply: called with (round, replies to the mask stage so far, clients asked).

    Raises:
        ConfigError: the server is not trusted to follow the protocol, and the roster cannot be read.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        method: Method,
        workspace: Workspace,
        on_reply: Callable[[int, int, int], None] = lambda *_: None,
    ) -> None:
        self._config, self._settings = config, config.secure_aggregation
        self._method, self._workspace, self._on_reply = method, workspace, on_reply
        active = self._settings.trust == "active"
        self._roster = read_roster(Path(self._settings.identities) / ROSTER) if active else None
        self._run = secrets.token_hex(16)
        self._previous: list[frozenset[int]] = []
        self._early: dict[int, bytes] = {}

    def run(self, grid: Grid, invitation: Invitation, timeout: float | None) -> SecureRound:
        """Run all stages of a round over a grid; a client that fails at one of them is out, the others go on."""
        outcome = SecureRound()
        try:
            self._sum_up(grid, invitation, timeout, outcome)
        except SecureAggregationError as problem:
            outcome.failure = f"{type(problem).__name__}: {problem}"
            outcome.refused.append(Refusal(client=None, reason=REASON, detail=outcome.failure))
        return outcome

    def _sum_up(self, grid: Grid, invitation: Invitation, timeout: float | None, outcome: SecureRound) -> None:
        by_architecture = {self._config.client_model(c): each for c, each in invitation.instructions.items()}
        digests = {name: instruction_digest(each) for name, each in by_architecture.items()}
        plan = plan_of(self._config, self._method, self._workspace.data, next(iter(invitation.instructions.values())))
        early, self._early = self._early, {}
        sums = self._open(invitation, plan, student_digest(digests), early)
        outcome.resolution, outcome.evaluation_bytes = sums[0].parameters.step, plan.evaluation_bytes
        exchange = Exchange(grid, self._config, invitation, digests, timeout, outcome, self._on_reply)
        while unfinished := [each for each in sums if each.is_open]:
            exchange.run(unfinished)
            for each in unfinished:
                each.advance()
        self._early = exchange.advertisements
        self._finish(sums, plan, outcome)

    def _open(
        self, invitation: Invitation, plan: VectorPlan, student: bytes, early: Mapping[int, bytes]
    ) -> list[OpenSum]:
        sums = []
        for group, members in enumerate(self._groups(invitation)):
            parameters = plan.parameters(
                Session(self._run, invitation.server_round, group),
                len(members),
                public_set_digest=bytes.fromhex(self._workspace.data.public_digest),
                student_digest=student,
            )
            server = SecureServer(parameters, roster=self._roster, minimum_cohort=self._settings.minimum_cohort)
            sums.append(OpenSum(members, parameters, server, early))
        return sums

    def _groups(self, invitation: Invitation) -> list[Sequence[int]]:
        """The clients of each sum: all, or a seeded division of them."""
        clients, size = sorted(invitation.nodes), self._settings.group_size
        if not size:
            return [clients]
        _require_groups(len(clients) // size, f"of {size} that the {len(clients)} clients here make up")
        rng = numpy_rng(self._config.run.seed, "groups", "round", invitation.server_round)
        parts = np.array_split(rng.permutation(clients), len(clients) // size)
        return [sorted(int(client) for client in part) for part in parts]

    def _finish(self, sums: Sequence[OpenSum], plan: VectorPlan, outcome: SecureRound) -> None:
        """Take the sums that there are; raises where they are too few."""
        failures = [each.failure for each in sums if each.failure is not None]
        rule = plan.terms.group_rule
        if failures and rule is None:
            raise failures[0]
        for failure in failures:
            detail = f"a group: {type(failure).__name__}: {failure}"
            outcome.refused.append(Refusal(client=None, reason=REASON, detail=detail))
        finished = [each for each in sums if each.failure is None]
        totals = [plan.decode(each.server.result.total_D, each.parameters, each.num_survivors) for each in finished]
        if rule is not None:
            _require_groups(len(totals), "with a sum")
        self._note([each.server.result for each in finished], outcome)
        outcome.total = totals[0] if rule is None else join_groups(totals, rule, plan)

    def _note(self, results: Sequence[SumResult], outcome: SecureRound) -> None:
        cohorts = [frozenset(result.survivors) for result in results]
        outcome.survivors = tuple(sorted(frozenset().union(*cohorts)))
        outcome.liars = tuple(sorted(liar for result in results for liar in result.liars))
        outcome.groups = tuple(result.survivors for result in results) if self._settings.group_size else ()
        outcome.adjacent_client = _adjacent(cohorts, self._previous)
        self._previous = cohorts


def _adjacent(cohorts: Collection[frozenset[int]], previous: Collection[frozenset[int]]) -> int | None:
    pairs = (adjacent_client(cohort, earlier) for cohort in cohorts for earlier in previous)
    return next((client for client in pairs if client is not None), None)


def _require_groups(number: int, which: str) -> None:
    if number < FEWEST_GROUPS:
        raise BelowThresholdError(f"{number} groups {which}; a comparison needs {FEWEST_GROUPS}")
