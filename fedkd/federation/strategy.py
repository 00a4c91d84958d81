"""The Flower `Strategy`: runs the rounds over a grid and computes nothing itself.

    hello → (sample → train → sort out the replies → aggregate, distil, evaluate → record) × rounds

Evaluation of the clients rides on their training replies, so a round is one exchange. Under secure aggregation the
messages of a round are those of `SecureRounds`, one exchange a stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import mean

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import RoundError
from fedkd.federation.membership import Membership, meet, require_enough
from fedkd.federation.messages import TRAIN, IndexArray, instruction_to_records, payload_bytes
from fedkd.federation.observers import Observer
from fedkd.federation.replies import ReplyDesk, Round
from fedkd.federation.secure.exchange import Invitation, SecureRound
from fedkd.federation.secure.rounds import SecureRounds
from fedkd.federation.server import Outcome, Server
from fedkd.federation.workspace import Workspace
from fedkd.records import RoundRecord, Seconds, Traffic
from fedkd.seeding import numpy_rng


class DistillationStrategy(Strategy):
    """Federated distillation over any grid.

    Args:
        config: the experiment.
        server: the server's models.
        desk: validates replies.
        workspace: the server's data.
        observer: told of progress and of every round.
        history: rounds that were run before; the first round to run is the one after them.
        secure_rounds: sums up the clients' answers unseen; `None` where the server may see each.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        server: Server,
        desk: ReplyDesk,
        workspace: Workspace,
        observer: Observer,
        history: Sequence[RoundRecord] = (),
        secure_rounds: SecureRounds | None = None,
    ) -> None:
        self._config, self._server, self._desk = config, server, desk
        self._workspace, self._observer = workspace, observer
        self._nodes: dict[int, int] = {}
        self._here: list[int] = []
        self._asked: tuple[dict[int, int], IndexArray] = ({}, np.empty(0, np.int32))
        self._bytes_down = 0
        self._secure_rounds = secure_rounds
        self.history = list(history)

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int | None = None,
        timeout: float | None = None,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Run all rounds that are left. What is not given comes from the configuration; the student is the server's.

        Returns:
            Flower's result: the final student, and its metrics by round.

        Raises:
            ConfigError: fewer or more than `clients.number` nodes join the federation.
            RoundError: too few clients can take part, or no round brought enough usable replies.
        """
        del evaluate_config, evaluate_fn
        arrays = initial_arrays or ArrayRecord()
        result = Result()
        patience = timeout or self._config.clients.deadline
        self._nodes, refused = meet(grid, self._config, self._workspace.data, patience)
        self._observer.on_clients(sorted(self._nodes), refused)
        require_enough(self._nodes, refused, self._config.clients)
        membership = Membership(self._config, self._workspace.data, self._nodes, self._observer)
        for server_round in range(len(self.history) + 1, (num_rounds or self._config.run.rounds) + 1):
            started = time.perf_counter()
            self._here = membership.present(grid)
            self._observer.on_phase(server_round, "training")
            if self._secure_rounds is None:
                messages = self.configure_train(server_round, arrays, train_config or ConfigRecord(), grid)
                replies = grid.send_and_receive(messages, timeout=patience)
                record = self._finish(server_round, self._counted(server_round, replies), started)
            else:
                secure = self._secure_rounds.run(grid, self._invite(server_round), patience)
                record = self._finish_secure(server_round, secure, started)
            result.evaluate_metrics_serverapp[server_round] = _metrics(record)
        if not any(record.completed for record in self.history):
            raise RoundError(f"no round had {self._config.clients.min_replies} usable replies: {self._why()}")
        result.arrays = self._arrays()
        return result

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Draw clients and public samples; each client gets the instruction for its architecture."""
        del arrays, config, grid
        invitation = self._invite(server_round)
        contents = {client: invitation.contents[self._config.client_model(client)] for client in invitation.nodes}
        self._bytes_down = sum(payload_bytes(content) for content in contents.values())
        return [
            Message(content, invitation.nodes[client], TRAIN, group_id=str(server_round))
            for client, content in contents.items()
        ]

    def _invite(self, server_round: int) -> Invitation:
        """Draw clients and public samples of a round."""
        clients, indices_N = self._draw(server_round), self._server.public_indices(server_round)
        self._asked = ({self._nodes[client]: client for client in clients}, indices_N)
        instructions = self._server.instructions(server_round, indices_N)
        return Invitation(
            server_round,
            {client: self._nodes[client] for client in clients},
            instructions,
            {name: instruction_to_records(instruction) for name, instruction in instructions.items()},
        )

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Finish a round: the student after it, and its scores."""
        record = self._finish(server_round, replies, time.perf_counter())
        return self._arrays(), _metrics(record)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Send nothing: clients are measured with their training replies."""
        del server_round, arrays, config, grid
        return []

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        """There is nothing to aggregate."""
        del server_round, replies

    def summary(self) -> None:
        """Nothing beyond what the run folder records."""

    def _draw(self, server_round: int) -> list[int]:
        here = self._here
        wanted = self._config.clients.num_drawn(len(here))
        rng = numpy_rng(self._config.run.seed, "clients", "round", server_round)
        return sorted(int(client) for client in rng.choice(here, size=wanted, replace=False))

    def _counted(self, server_round: int, replies: Iterable[Message]) -> Iterator[Message]:
        for count, reply in enumerate(replies, start=1):
            self._observer.on_reply(server_round, count, len(self._asked[0]))
            yield reply

    def _finish(self, server_round: int, messages: Iterable[Message], started: float) -> RoundRecord:
        senders, indices_N = self._asked
        replies = self._desk.sort_out(messages, senders, server_round, len(indices_N))
        completed = len(replies.contributions) >= self._config.clients.min_replies
        self._observer.on_phase(server_round, "distillation")
        if completed:
            outcome = self._server.finish_round(server_round, indices_N, replies.contributions, replies.test_logits)
        else:
            outcome = self._server.unchanged()
        record = RoundRecord(
            server_round=server_round,
            completed=completed,
            selected=tuple(senders.values()),
            replied=tuple(contribution.client for contribution in replies.contributions),
            dropped=tuple(replies.dropped),
            late=tuple(replies.late),
            refused=tuple(replies.refused),
            **outcome.scores,
            train_loss=_mean([reply.metrics.train_loss for reply in replies.replies]),
            clipped_fraction=_mean([reply.metrics.clipped_fraction for reply in replies.replies]),
            bytes=Traffic(up=replies.bytes_up, down=self._bytes_down),
            seconds=_seconds(replies, outcome, time.perf_counter() - started),
        )
        return self._recorded(record)

    def _finish_secure(self, server_round: int, secure: SecureRound, started: float) -> RoundRecord:
        """Finish a round of which only a sum is known: nothing in its record is of one client alone."""
        senders, indices_N = self._asked
        total = secure.total if len(secure.survivors) >= self._config.clients.min_replies else None
        self._observer.on_phase(server_round, "distillation")
        server = self._server
        outcome = server.finish_sum(server_round, indices_N, total) if total else server.unchanged()
        record = RoundRecord(
            server_round=server_round,
            completed=total is not None,
            selected=tuple(senders.values()),
            replied=secure.survivors,
            dropped=tuple(sorted(set(secure.dropped) - set(secure.survivors))),
            late=tuple(sorted(set(secure.late) - set(secure.survivors))),
            refused=tuple(secure.refused),
            **outcome.scores,
            train_loss=total.counts.train_loss / total.num_clients if total else None,
            clipped_fraction=total.counts.num_clipped / (total.num_clients * total.teacher_NC.size) if total else None,
            secure_sum=secure.record,
            bytes=Traffic(up=sum(secure.bytes_up.values()), down=sum(secure.bytes_down.values())),
            seconds=Seconds(total=time.perf_counter() - started, **outcome.seconds),
        )
        return self._recorded(record)

    def _recorded(self, record: RoundRecord) -> RoundRecord:
        self.history.append(record)
        self._observer.on_round(record)
        return record

    def _arrays(self) -> ArrayRecord:
        weights = self._server.student_weights or {}
        return ArrayRecord({key: Array(array) for key, array in weights.items()})

    def _why(self) -> str:
        last = self.history[-1]
        refusals = [f"client {refusal.client}: {refusal.reason}: {refusal.detail}" for refusal in last.refused]
        absent = [f"{len(last.dropped)} dropped out, {len(last.late)} came late"] if last.dropped or last.late else []
        return f"in round {last.server_round}, " + "; ".join(refusals + absent)


def _mean(values: list[float]) -> float | None:
    return mean(values) if values else None


def _metrics(record: RoundRecord) -> MetricRecord:
    values = {"accuracy": record.student.accuracy, "loss": record.student.loss}
    return MetricRecord({key: value for key, value in values.items() if value is not None})


def _seconds(replies: Round, outcome: Outcome, total: float) -> Seconds:
    metrics = [reply.metrics for reply in replies.replies]
    return Seconds(
        total=total,
        local_training=sum(m.training_seconds for m in metrics),
        public_inference=sum(m.public_inference_seconds for m in metrics),
        aggregation=outcome.seconds.get("aggregation", 0.0),
        distillation=outcome.seconds.get("distillation", 0.0),
        evaluation=outcome.seconds.get("evaluation", 0.0) + sum(m.evaluation_seconds for m in metrics),
    )
