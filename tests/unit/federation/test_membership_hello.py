"""Who may take part, and who comes back: clients introduce themselves, before the first round and between rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.serverapp import Grid

from fedkd.config.experiment import ExperimentConfig
from fedkd.engines.absence import app
from fedkd.engines.simulation import run_config_of
from fedkd.errors import RoundError
from fedkd.federation.messages import HELLO, TRAIN, hello_from_records, hello_to_records
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult, run_server_app
from fedkd.flower.internals import new_run, set_message_id, task_identity
from fedkd.records import Refusal, RoundRecord

Make = Callable[..., ExperimentConfig]


class Hearing(Observer):
    """Writes down who takes part and who is refused, each time it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[list[int], list[tuple[int | None, str]]]] = []

    def on_clients(self, clients: Sequence[int], refused: Sequence[Refusal]) -> None:
        self.told.append((list(clients), [(refusal.client, refusal.reason) for refusal in refused]))


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"version": "0.0.0"}, (1, "version")),
        ({"public_digest": "0" * 64}, (1, "public_digest")),
        ({"num_classes": 9}, (1, "classes")),
        ({"client": 4}, (4, "sender")),
        ({"client": -1}, (-1, "sender")),
        ({"client": 0}, (0, "sender")),
        ({"architecture": "cnn"}, (1, "model")),
    ],
)
def test_a_client_that_does_not_fit_is_refused_and_never_asked(
    make_config: Make, federate: Any, fields: dict[str, Any], refused: tuple[int, str]
) -> None:
    def change(client: int, reply: Message) -> Message:
        if client == 1 and reply.metadata.message_type == HELLO:
            hello = replace(hello_from_records(reply.content), **fields)
            reply.content.clear()
            reply.content.update(hello_to_records(hello))
        return reply

    hearing = Hearing()
    result, grid = federate(make_config(), observer=hearing, to_server=change)
    assert hearing.told == [([0, 2, 3], [refused])]
    assert sorted(grid.asked(1)) == [0, 2, 3]
    assert result.history[0].selected == (0, 2, 3)


@pytest.mark.parametrize("min_train_nodes", [3, 4])
def test_as_many_clients_as_min_train_nodes_must_fit(make_config: Make, federate: Any, min_train_nodes: int) -> None:
    def silent(client: int, reply: Message) -> Message | None:
        return None if client == 1 and reply.metadata.message_type == HELLO else reply

    config = make_config(clients={"min_train_nodes": min_train_nodes})
    if min_train_nodes == 3:
        assert federate(config, to_server=silent).result.history[0].selected == (0, 2, 3)
        return
    with pytest.raises(RoundError, match=r"3 clients can take part; clients\.min_train_nodes asks for 4"):
        federate(config, to_server=silent)


class Deployed(Grid):
    """Nodes that come and go, each with a client; a reply is there at the next look, even of a node that has left.

    Attributes:
        online: node -> its client, as things are now; `None` for a node that never answers.
        asked: (node, type) of every message that was pushed.
    """

    def __init__(self, config: ExperimentConfig, online: dict[int, int | None]) -> None:
        self.online, self.asked = dict(online), list[tuple[int, str]]()
        self._config, self._run, self._replies = config, new_run(1), dict[str, Message]()
        self._ever = dict(online)

    def set_run(self, run: Any) -> None:
        self._run = run

    @property
    def run(self) -> Any:
        return self._run

    def create_message(self, *arguments: Any, **keywords: Any) -> Message:
        raise NotImplementedError

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> list[int]:
        self._ever |= self.online
        return sorted(self.online)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            node = message.metadata.dst_node_id
            ids.append(f"message-{len(self.asked)}")
            self.asked.append((node, message.metadata.message_type))
            set_message_id(message, ids[-1])
            if self._ever[node] is None:
                continue
            node_config = {"partition-id": self._ever[node]}
            self._replies[ids[-1]] = app(
                message, Context(1, node, node_config, RecordDict(), run_config_of(self._config))
            )
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        return [self._replies.pop(each) for each in list(message_ids) if each in self._replies]


@pytest.fixture
def deploy(make_config: Make) -> Callable[..., tuple[FederationResult, Hearing, Deployed]]:
    """Run rounds while nodes come and go: `online` says who is there in each round."""

    def run(*online: dict[int, int | None], **keys: Any) -> tuple[FederationResult, Hearing, Deployed]:
        clients = {"number": len(online[0]), "min_train_nodes": 1, "join_timeout": 0.0} | keys
        config = make_config(run={"rounds": len(online)}, clients=clients)
        grid = Deployed(config, online[0])

        class ComingAndGoing(Hearing):
            def on_round(self, record: RoundRecord) -> None:
                grid.online = dict(online[min(record.server_round, len(online) - 1)])

        observer = ComingAndGoing()
        context = Context(1, 0, {}, RecordDict(), run_config_of(config))
        with task_identity(run_id=1, node_id=0):
            return run_server_app(grid, context, observer), observer, grid

    return run


def test_a_client_on_another_node_is_asked_from_the_round_after_its_hello(deploy: Any) -> None:
    at_first, moved = {11: 0, 12: 1, 13: 2}, {11: 0, 12: 1, 99: 2}
    result, hearing, grid = deploy(at_first, moved, moved)
    assert [record.selected for record in result.history] == [(0, 1, 2), (0, 1), (0, 1, 2)]
    assert hearing.told == [([0, 1, 2], []), ([0, 1, 2], [])]
    assert grid.asked.count((99, HELLO)) == 1
    assert grid.asked.count((99, TRAIN)) == 1


def test_the_hello_of_a_node_that_has_left_again_changes_nothing(deploy: Any) -> None:
    """Client 2 is back on its first node in round 4, and asked at once: it was not taken to be on node 99."""
    at_first, moved, fewer = {11: 0, 12: 1, 13: 2}, {11: 0, 12: 1, 99: 2}, {11: 0, 12: 1}
    result, hearing, _ = deploy(at_first, moved, fewer, at_first)
    assert [record.selected for record in result.history] == [(0, 1, 2), (0, 1), (0, 1), (0, 1, 2)]
    assert hearing.told == [([0, 1, 2], [])]


def test_a_node_that_has_left_and_come_back_is_asked_again_who_it_is(deploy: Any) -> None:
    at_first, moved, fewer = {11: 0, 12: 1, 13: 2}, {11: 0, 12: 1, 99: 2}, {11: 0, 12: 1}
    result, _, grid = deploy(at_first, moved, fewer, moved, moved)
    assert [record.selected for record in result.history] == [(0, 1, 2), (0, 1), (0, 1), (0, 1), (0, 1, 2)]
    assert grid.asked.count((99, HELLO)) == 2


def test_a_second_node_of_a_client_that_is_there_is_refused_once(deploy: Any) -> None:
    at_first, more = {11: 0, 12: 1}, {11: 0, 12: 1, 66: 1}
    result, hearing, _ = deploy(at_first, more, more, more)
    assert [record.selected for record in result.history] == [(0, 1)] * 4
    assert hearing.told == [([0, 1], []), ([0, 1], [(1, "sender")])]


def test_a_node_that_does_not_answer_is_asked_once_who_it_is(deploy: Any) -> None:
    more = {11: 0, 12: 1, 99: None}
    result, _, grid = deploy({11: 0, 12: 1}, more, more, more)
    assert [record.selected for record in result.history] == [(0, 1)] * 4
    assert grid.asked.count((99, HELLO)) == 1


def test_as_many_clients_as_min_train_nodes_are_not_made_to_wait_for_others(
    deploy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_sleep(seconds: float) -> None:
        raise AssertionError(f"slept {seconds} s")

    monkeypatch.setattr(time, "sleep", no_sleep)
    result, _, _ = deploy({11: 0, 12: 1, 13: 2}, {11: 0, 13: 2}, min_train_nodes=2, join_timeout=60.0)
    assert [record.selected for record in result.history] == [(0, 1, 2), (0, 2)]


def test_where_nobody_is_online_the_clients_known_are_asked(deploy: Any) -> None:
    """A grid may not know yet who is there: asking costs a deadline, not asking costs the run."""
    result, _, _ = deploy({11: 0, 12: 1}, {}, {12: 1})
    assert [record.selected for record in result.history] == [(0, 1), (0, 1), (1,)]
