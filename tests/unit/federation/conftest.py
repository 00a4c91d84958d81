"""Small federations on digits whose clients answer, and whose messages change on their way, as a test says.

What a test reads from a message it reads through `payloads`, so that the format on the wire is named here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from torch import Tensor, nn

from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.engines import LocalGrid
from fedkd.engines.absence import simulate_absence
from fedkd.engines.simulation import run_apps, run_config_of
from fedkd.federation.checkpoints import Checkpoints
from fedkd.federation.client import Client
from fedkd.federation.client_app import build_client_app, compose_client
from fedkd.federation.messages import TRAIN, TrainReply, instruction_from_records, reply_from_records, reply_to_records
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.federation.workspace import Workspace

NUM_PUBLIC, NUM_TEST, NUM_CLASSES = 24, 40, 10

Answer = Callable[[int, Tensor], Tensor]
"""(client, logits of its model [N, C]) -> the logits that the model answers instead, outside of training."""

OnTheWay = Callable[[int, Message], Message | None]
"""(client, message to it or from it) -> what arrives instead; `None` for nothing."""


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge nested dictionaries."""
    return values | {
        key: merged(values.get(key, {}), change) if isinstance(change, dict) else change
        for key, change in changes.items()
    }


@pytest.fixture(scope="session")
def make_config() -> Callable[..., ExperimentConfig]:
    """A federation of four clients on a few digits; sections can be changed."""
    torch.optim.SGD([torch.zeros(1)], lr=1.0)  # torch loads its compiler with the first optimiser, for seconds

    def make(**sections: Any) -> ExperimentConfig:
        values: dict[str, Any] = {
            "run": {"rounds": 1, "baselines": False, "device": "cpu"},
            "data": {
                "train_size": 100,
                "test_size": NUM_TEST,
                "public": {"size": NUM_PUBLIC},
                "partition": {"kind": "iid", "min_size": 5},
            },
            "clients": {"number": 4, "models": ["mlp"]},
            "training": {"epochs": 1, "learning_rate": 0.05, "batch_size": 8},
            "student": {"model": "mlp", "epochs": 1, "batch_size": 8},
        }
        return parse_config(merged(values, sections))

    return make


@dataclass(frozen=True)
class AnsweringWorkspace(Workspace):
    """A client's data, with models whose logits outside of training are changed by `answer`."""

    answer: Callable[[Tensor], Tensor]

    def build_model(self, name: str, seed: int) -> nn.Module:
        model = super().build_model(name, seed)

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], logits_NC: Tensor) -> Tensor:
            return logits_NC if module.training else self.answer(logits_NC)

        model.register_forward_hook(hook)
        return model


def app_that_answers(answer: Answer) -> ClientApp:
    """A client app whose models answer what the test says."""

    def compose(context: Context) -> Client:
        client = compose_client(context)
        workspace = AnsweringWorkspace(
            client.workspace.data, client.workspace.device, lambda logits_NC: answer(client.client, logits_NC)
        )
        return replace(client, workspace=workspace)

    return build_client_app(compose, mods=[simulate_absence])


class Clients(LocalGrid):
    """A local grid on whose way messages are kept and may be changed.

    Attributes:
        sent: (client, message) of every message that reached a client, in order.
        received: (client, reply) of every reply that reached the server, in order.
        timeouts: seconds for which the server was ready to wait, one for each exchange.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        answer: Answer = lambda _, logits_NC: logits_NC,
        to_client: OnTheWay = lambda _, message: message,
        to_server: OnTheWay = lambda _, reply: reply,
        *,
        reverse: bool = False,
        shuffle_seed: int | None = None,
    ) -> None:
        number = config.clients.number
        super().__init__(app_that_answers(answer), number, run_config_of(config), shuffle_seed=shuffle_seed)
        self._to_client, self._to_server, self._reverse = to_client, to_server, reverse
        self.sent: list[tuple[int, Message]] = []
        self.received: list[tuple[int, Message]] = []
        self.timeouts: list[float | None] = []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        self.timeouts.append(timeout)
        arriving = []
        for message in messages:
            changed = self._to_client(self._clients[message.metadata.dst_node_id], message)
            if changed is not None:
                arriving.append(changed)
        self.sent += [(self._clients[message.metadata.dst_node_id], message) for message in arriving]
        replies = list(super().send_and_receive(arriving, timeout=timeout))
        for reply in reversed(replies) if self._reverse else replies:
            client = self._clients[reply.metadata.src_node_id]
            changed = self._to_server(client, reply)
            if changed is not None:
                self.received.append((client, changed))
                yield changed

    def states(self) -> dict[int, bytes]:
        """What every client that was ever asked keeps, packed."""
        self._asked = set(self._clients)
        return dict(self.take_changed_states())

    def asked(self, server_round: int, message_type: str = TRAIN) -> dict[int, Message]:
        """Messages of one type that reached clients in a round."""
        return {client: message for client, message in self.sent if _is_of(message, server_round, message_type)}

    def replied(self, server_round: int, message_type: str = TRAIN) -> dict[int, Message]:
        """Replies of one type that reached the server in a round."""
        return {client: reply for client, reply in self.received if _is_of(reply, server_round, message_type)}


def _is_of(message: Message, server_round: int, message_type: str) -> bool:
    metadata = message.metadata
    return metadata.group_id == str(server_round) and metadata.message_type == message_type


class Federated(NamedTuple):
    """A federation that ran: its result, and the grid with all messages."""

    result: FederationResult
    grid: Clients


@pytest.fixture
def federate() -> Callable[..., Federated]:
    """Run a federation; keywords are those of `Clients`, whose configuration is the server's unless it is given."""

    def run(
        config: ExperimentConfig,
        observer: Observer | None = None,
        checkpoints: Checkpoints | None = None,
        clients_config: ExperimentConfig | None = None,
        **keywords: Any,
    ) -> Federated:
        grid = Clients(clients_config or config, **keywords)
        return Federated(run_apps(grid, config, observer or Observer(), checkpoints), grid)

    return run


class Payloads:
    """What messages of a round hold, and replies that hold something else."""

    @staticmethod
    def public_indices(message: Message) -> np.ndarray:
        """The public samples that a client is asked for."""
        return instruction_from_records(message.content).asked_N

    @staticmethod
    def weights_down(message: Message) -> dict[str, np.ndarray] | None:
        """The model that a client is to adopt."""
        return instruction_from_records(message.content).weights

    @staticmethod
    def teacher(message: Message) -> tuple[np.ndarray, np.ndarray] | None:
        """Indices and logits of the teacher that a client is to learn from, sent as float32."""
        told = instruction_from_records(message.content).told
        return None if told is None else (told.keys_M, told.wire["values"])

    @staticmethod
    def measures(message: Message) -> bool:
        """Whether a client is asked to answer on the test split."""
        return instruction_from_records(message.content).evaluate

    @staticmethod
    def reply(message: Message) -> TrainReply:
        """A client's reply; an absence is a failure of the test."""
        reply = reply_from_records(message.content)
        assert isinstance(reply, TrainReply)
        return reply

    @classmethod
    def answers(cls, message: Message) -> np.ndarray:
        """A client's logits on the public samples of the round."""
        rows = cls.reply(message).rows
        assert rows is not None
        return np.asarray(rows["values"] * np.float64(rows.get("scale", 1.0)), dtype=np.float32)

    @classmethod
    def test_answers(cls, message: Message) -> np.ndarray | None:
        """A client's logits on the test split."""
        return cls.reply(message).test_logits

    @classmethod
    def weights_up(cls, message: Message) -> dict[str, np.ndarray]:
        """A client's weights."""
        weights = cls.reply(message).weights
        assert weights is not None
        return weights

    @classmethod
    def change(cls, message: Message, **fields: Any) -> Message:
        """Replace fields of a client's reply; those of its metrics are under `metrics`."""
        reply = cls.reply(message)
        metrics = replace(reply.metrics, **fields.pop("metrics", {}))
        message.content.clear()
        message.content.update(reply_to_records(replace(reply, metrics=metrics, **fields)))
        return message

    @staticmethod
    def arrays(message: Message) -> dict[str, bytes]:
        """All arrays of a message as they travel, by name, those that serve the measurement included."""
        records = message.content.array_records.items()
        return {f"{name}/{key}": array.data for name, record in records for key, array in record.items()}


@pytest.fixture(scope="session")
def payloads() -> type[Payloads]:
    """Readers and changers of a round's messages."""
    return Payloads


def same_bits(first: dict[str, np.ndarray] | None, second: dict[str, np.ndarray] | None) -> bool:
    """Whether two models hold the same bits."""
    assert first is not None
    assert second is not None
    return first.keys() == second.keys() and all(first[key].tobytes() == second[key].tobytes() for key in first)


@pytest.fixture(scope="session", name="same_bits")
def _same_bits() -> Callable[..., bool]:
    """Whether two models hold the same bits."""
    return same_bits
