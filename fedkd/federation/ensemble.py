"""How a round's clients become one teacher: from the rows of each, from their models, or from a masked sum."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np

from fedkd.aggregation import Stack
from fedkd.config.experiment import ExperimentConfig
from fedkd.distillation.executor import Executor
from fedkd.federation.answers import Answers
from fedkd.federation.replies import ValidReply
from fedkd.federation.scoring import score_clients
from fedkd.federation.seams import sent_spec
from fedkd.federation.secure.vector import SumOfClients
from fedkd.federation.server_tasks import predict
from fedkd.federation.workspace import Workspace
from fedkd.methods import Contribution, Method
from fedkd.payload import Arrays, Rows
from fedkd.records import ClientScores
from fedkd.types import FloatArray, IntArray


class Ensemble:
    """The clients of a round as one teacher, before refinement; keeps the state of the aggregator.

    Args:
        config: the experiment.
        method: its composed method.
        workspace: the server's data.
        executor: where clients' models answer, in methods in which they travel.

    Attributes:
        spec: of the rows that the teacher is made of.
        state: of the aggregator.
    """

    def __init__(self, config: ExperimentConfig, method: Method, workspace: Workspace, executor: Executor) -> None:
        self._config, self._method, self._workspace, self._executor = config, method, workspace, executor
        num_classes = workspace.data.num_classes
        if method.rows_upload is None:  # the server makes the rows itself, and takes no step
            self.spec = method.teacher_upload.spec(num_classes, config.payload.bound)
        else:
            self.spec = sent_spec(config, method.rows_upload, num_classes)
        self.state: Arrays = {}
        if method.aggregate is not None:
            self.state = method.aggregate.initial(range(config.clients.number))

    def aggregate_replies(self, server_round: int, asked_N: IntArray, valid: Sequence[ValidReply]) -> Answers:
        """Aggregate what each client said.

        Args:
            server_round: from 1.
            asked_N: the keys that were asked.
            valid: replies in the order of clients; at least one.
        """
        started = time.perf_counter()
        contributions = [each.contribution for each in valid]
        aggregate, stack, rule = self._method.aggregate, None, None
        if aggregate is not None:
            stack = self._stack(self._rows(asked_N, contributions), asked_N, contributions, server_round)
            rule, self.state = aggregate.fit(stack, self.state)
        fresh = None if rule is None or stack is None else rule(stack)
        aggregated = time.perf_counter()
        logits, rows = self._measured(server_round, valid)
        test_M = np.arange(len(self._workspace.data.test.labels_N))
        return Answers(
            fresh=fresh,
            test=rule(self._stack(rows, test_M, contributions, server_round)) if rule and rows else None,
            clients=score_clients(logits, self._workspace.data.test.labels_N),
            contributions=contributions,
            stack=stack,
            seconds={"aggregation": aggregated - started, "evaluation": time.perf_counter() - aggregated},
        )

    def aggregate_sum(self, total: SumOfClients) -> Answers:
        """The same where nothing is known but a sum."""
        clients = ClientScores()
        if total.counts.num_answered:
            clients = ClientScores(mean_accuracy=total.counts.num_correct / total.counts.num_answered)
        return Answers(total.fresh, total.test, clients)

    def _rows(self, asked_N: IntArray, contributions: Sequence[Contribution]) -> dict[int, Rows]:
        """What each client sent, or what its model answers where that travels."""
        sent = {c.client: c.rows for c in contributions if c.rows is not None}
        return sent or self._members_rows(asked_N, self._members_answer(contributions, asked_N), contributions)

    def _measured(self, server_round: int, valid: Sequence[ValidReply]) -> tuple[list[FloatArray], dict[int, Rows]]:
        """Logits and rows of the clients on the test split; none in a round in which they are not measured."""
        if self._method.rows_upload is not None:
            logits = [each.test_logits_MC for each in valid if each.test_logits_MC is not None]
            return logits, {each.contribution.client: each.test_rows for each in valid if each.test_rows is not None}
        if not self._config.evaluates_clients(server_round):
            return [], {}
        contributions = [each.contribution for each in valid]
        logits = self._members_answer(contributions, None)
        return logits, self._members_rows(np.arange(len(logits[0])), logits, contributions)

    def _members_answer(self, contributions: Sequence[Contribution], indices_N: IntArray | None) -> list[FloatArray]:
        """Let the clients' models answer public samples, or the test split."""
        members = [(c.architecture, c.weights) for c in contributions if c.weights is not None]
        return predict(self._executor, self._config, members, indices_N)

    def _members_rows(
        self, keys_N: IntArray, logits: Sequence[FloatArray], contributions: Sequence[Contribution]
    ) -> dict[int, Rows]:
        return {
            c.client: self.spec.checked(Rows.of(keys_N, logits_NC), keys_N)
            for c, logits_NC in zip(contributions, logits, strict=True)
        }

    def _stack(
        self, rows: Mapping[int, Rows], keys_N: IntArray, contributions: Sequence[Contribution], server_round: int
    ) -> Stack:
        return Stack.of(rows, keys_N, {c.client: c.num_examples for c in contributions}, server_round)
