"""In a deployment, a restarted client comes back on any node; no node takes the place of a client that is present."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from fedkd.config.experiment import ExperimentConfig
from fedkd.engines.local import LocalGrid
from fedkd.errors import PayloadError
from fedkd.federation.membership import Membership
from fedkd.federation.messages import Hello, content_of, hello_to_records
from fedkd.federation.observers import Observer
from fedkd.federation.workspace import open_workspace
from fedkd.flower.internals import GONE, set_message_id, task_identity, with_content
from fedkd.flower.packing import is_packed, unpack_message
from fedkd.flower.polling_grid import PollingGrid
from fedkd.records import Refusal


class Nodes(LocalGrid):
    """Nodes that answer at the second look, each as the client that sits on it."""

    def __init__(self, config: ExperimentConfig, clients_of: dict[int, int]) -> None:
        super().__init__(None, 0, {})  # type: ignore[arg-type]
        self._config, self.clients_of = config, clients_of
        self._digest = open_workspace(config).data.public_digest
        self._sent: dict[str, Message] = {}

    def get_node_ids(self) -> list[int]:
        return sorted(self.clients_of)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            ids.append(f"m{len(self._sent)}-{message.metadata.dst_node_id}")
            set_message_id(message, ids[-1])
            self._sent[ids[-1]] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._answer(self._sent.pop(each)) for each in list(message_ids) if each in self._sent]

    def _answer(self, message: Message) -> Message:
        client = self.clients_of.get(message.metadata.dst_node_id)
        if client is None:
            return Message(Error(min(GONE), "gone"), reply_to=message)
        hello = Hello(client, self._config.client_model(client), 10, self._digest)
        return Message(hello_to_records(hello), reply_to=message)


class Heard(Observer):
    def __init__(self) -> None:
        self.refused: list[Refusal] = []
        self.clients: list[int] = []

    def on_clients(self, clients: Iterable[int], refused: Iterable[Refusal]) -> None:
        self.clients = list(clients)
        self.refused += refused


@pytest.fixture
def config() -> ExperimentConfig:
    clients = {"number": 2, "min_train_nodes": 1, "models": ["mlp"], "join_timeout": 0.0}
    return ExperimentConfig.model_validate({"clients": clients, "student": {"model": "mlp"}})


def membership(config: ExperimentConfig, nodes: dict[int, int]) -> tuple[Membership, Heard]:
    heard = Heard()
    return Membership(config, open_workspace(config).data, nodes, heard), heard


def test_a_client_that_is_gone_is_not_asked_and_takes_part_when_it_is_back(config: ExperimentConfig) -> None:
    clients_of, nodes = {11: 0, 12: 1}, {0: 11, 1: 12}
    grid = PollingGrid(Nodes(config, clients_of))
    members, heard = membership(config, nodes)
    with task_identity(1, 1):
        assert members.present(grid) == [0, 1]
        del clients_of[12]
        assert members.present(grid) == [0]
        clients_of[99] = 1
        assert members.present(grid) == [0]  # greeted, and not waited for
        assert members.present(grid) == [0, 1]
    assert nodes == {0: 11, 1: 99}
    assert heard.clients == [0, 1]


def test_a_client_that_is_present_keeps_its_node(config: ExperimentConfig) -> None:
    nodes = {0: 11, 1: 12}
    grid = PollingGrid(Nodes(config, {11: 0, 12: 1, 66: 1}))
    members, heard = membership(config, nodes)
    with task_identity(1, 1):
        for _ in range(4):
            assert members.present(grid) == [0, 1]
    assert nodes == {0: 11, 1: 12}
    assert [(refusal.client, refusal.reason) for refusal in heard.refused] == [(1, "sender")]  # told once


def test_where_all_are_gone_all_are_asked(config: ExperimentConfig) -> None:
    members, _ = membership(config, {0: 11, 1: 12})
    with task_identity(1, 1):
        assert members.present(PollingGrid(Nodes(config, {}))) == [0, 1]


def test_replies_come_as_they_are_there_and_the_gone_are_silent(config: ExperimentConfig) -> None:
    nodes = Nodes(config, {11: 0})
    with task_identity(1, 1):
        messages = [Message(RecordDict(), node, "query.hello") for node in (11, 12)]
        replies = list(PollingGrid(nodes).send_and_receive(messages, timeout=5.0))
    assert [reply.metadata.src_node_id for reply in replies] == [11]
    assert 5.0 < messages[0].metadata.ttl < 3600


def test_messages_are_packed_and_a_broken_one_is_its_senders_error(config: ExperimentConfig) -> None:
    arrays = RecordDict({"weights": ArrayRecord({"layer": Array(np.ones(3, np.float32))})})
    sent: list[Message] = []

    class Broken(Nodes):
        def _answer(self, message: Message) -> Message:
            sent.append(message)
            if message.metadata.dst_node_id == 11:
                return with_content(Message(RecordDict(), reply_to=message), unpack_message(message).content)
            return Message(RecordDict({"packed-0": ConfigRecord({"records": b"?"})}), reply_to=message)

    grid = PollingGrid(Broken(config, {11: 0, 12: 1}))
    with task_identity(1, 1):
        messages = [Message(arrays, node, "train") for node in (11, 12)]
        replies = grid.send_and_receive(messages, timeout=5.0)
        whole, broken = sorted(replies, key=lambda reply: reply.metadata.src_node_id)
    assert all(is_packed(message) for message in sent)
    assert sent[0].content["packed-0"] is sent[1].content["packed-0"]
    assert not any(map(is_packed, messages))
    assert whole.content == arrays
    assert (whole.metadata.src_node_id, broken.metadata.src_node_id) == (11, 12)
    with pytest.raises(PayloadError, match="the packed message cannot be read") as refused:
        content_of(broken)
    assert refused.value.reason == "malformed"


def test_a_node_that_never_answers_costs_the_timeout(config: ExperimentConfig) -> None:
    class Silent(Nodes):
        def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
            del message_ids
            return []

    with task_identity(1, 1):
        messages = [Message(RecordDict(), 11, "query.hello")]
        assert not list(PollingGrid(Silent(config, {11: 0})).send_and_receive(messages, timeout=0.2))
