"""The Flower `Strategy`: runs the rounds over a grid and computes nothing itself.

    hello → (sample → train → sort out the replies → aggregate, distil, evaluate → record) × rounds

Evaluation of the clients rides on their training replies, so a round is one exchange. Under secure aggregation the
messages of a round are those of `SecureRounds`, one exchange a stage.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import RoundError
from fedkd.federation.gathering import Gathered, gather_replies, gather_sum
from fedkd.federation.membership import Membership, meet, require_enough
from fedkd.federation.messages import TRAIN, TrainInstruction, instruction_to_records
from fedkd.federation.observers import Observer
from fedkd.federation.replies import ReplyHandler
from fedkd.federation.secure.exchange import Invitation
from fedkd.federation.secure.rounds import SecureRounds
from fedkd.federation.server import Server
from fedkd.federation.workspace import Workspace
from fedkd.records import RoundRecord
from fedkd.seeding import numpy_rng


class DistillationStrategy(Strategy):
    """Federated distillation over any grid.

    Args:
        config: the experiment.
        server: the server's models.
        handler: validates replies.
        workspace: the server's data.
        observer: told of progress and of every round.
        history: rounds that were run before; the first round to run is the one after them.
        secure_rounds: sums up the clients' answers unseen; `None` where the server may see each.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        server: Server,
        handler: ReplyHandler,
        workspace: Workspace,
        observer: Observer,
        history: Sequence[RoundRecord] = (),
        secure_rounds: SecureRounds | None = None,
    ) -> None:
        self._config, self._server, self._handler = config, server, handler
        self._workspace, self._observer = workspace, observer
        self._nodes: dict[int, int] = {}
        self._here: list[int] = []
        nothing = np.empty(0, np.int64)
        self._invitation = Invitation(0, {}, nothing, nothing, {}, {})
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
                gathered = self._gather(self._counted(server_round, replies))
            else:
                gathered = gather_sum(
                    self._server.ensemble, self._secure_rounds.run(grid, self._invite(server_round), patience)
                )
            record = self._finish(gathered, started)
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
        return [
            Message(content, invitation.nodes[client], TRAIN, group_id=str(server_round))
            for client, content in invitation.contents.items()
        ]

    def _invite(self, server_round: int) -> Invitation:
        """Draw clients and keys of a round; clients that get the same instruction share it."""
        clients, drawn_N = self._draw(server_round), self._server.drawn(server_round)
        asked_N = self._server.asked(drawn_N, server_round)
        instructions: dict[int, TrainInstruction] = {}
        contents: dict[int, RecordDict] = {}
        first: dict[Hashable, int] = {}
        for client in clients:
            used_round = self._handler.used_round(client)
            own = client if self._server.tells_apart(client) else None
            same = first.setdefault((self._config.client_model(client), used_round, own), client)
            if same == client:
                instructions[client] = self._server.instruction(server_round, asked_N, client, used_round)
                contents[client] = instruction_to_records(instructions[client])
            instructions[client], contents[client] = instructions[same], contents[same]
        nodes = {client: self._nodes[client] for client in clients}
        self._invitation = Invitation(server_round, nodes, drawn_N, asked_N, instructions, contents)
        return self._invitation

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Finish a round: the student after it, and its scores."""
        del server_round
        record = self._finish(self._gather(replies), time.perf_counter())
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
            self._observer.on_reply(server_round, count, len(self._invitation.nodes))
            yield reply

    def _gather(self, messages: Iterable[Message]) -> Gathered:
        """Sort the replies out."""
        invitation = self._invitation
        senders = {node: client for client, node in invitation.nodes.items()}
        replies = self._handler.sort_out(messages, senders, invitation.server_round, invitation.asked_N)
        return gather_replies(self._server.ensemble, invitation, replies)

    def _finish(self, gathered: Gathered, started: float) -> RoundRecord:
        """Learn from what was gathered, in clear or under masks, and record the round."""
        server_round, server = self._invitation.server_round, self._server
        enough = len(gathered.replied) >= self._config.clients.min_replies
        self._observer.on_phase(server_round, "distillation")
        completed = gathered.aggregate is not None and enough
        if gathered.aggregate is not None and enough:
            outcome = server.finish_round(server_round, self._invitation.drawn_N, gathered.aggregate())
        else:
            outcome = server.unchanged()
        record = RoundRecord(
            server_round=server_round,
            completed=completed,
            selected=tuple(self._invitation.nodes),
            **gathered.recorded,
            **outcome.scores,
            privacy_events=server.privacy_events(self._invitation.asked_N),
            seconds=gathered.seconds(outcome.seconds, time.perf_counter() - started),
        )
        if outcome.arrays is not None:
            self._observer.on_arrays(server_round, outcome.arrays)
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


def _metrics(record: RoundRecord) -> MetricRecord:
    values = {"accuracy": record.student.accuracy, "loss": record.student.loss}
    return MetricRecord({key: value for key, value in values.items() if value is not None})
