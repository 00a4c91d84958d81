"""The local engine keeps Flower's promises."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedkd.federation.engines import LocalGrid
from fedkd.federation.engines.internals import task_identity


@pytest.fixture(autouse=True)
def _identity() -> Iterator[None]:
    with task_identity(run_id=1, node_id=0):
        yield


def counting_app() -> ClientApp:
    """Replies with the client's partition id and how often it was called; client 2 raises, client 3 is slow."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        if client == 2:
            raise ValueError("client 2 cannot")
        if client == 3:
            time.sleep(0.05)
        calls = int(context.state.config_records.get("calls", ConfigRecord({"n": 0}))["n"]) + 1
        context.state["calls"] = ConfigRecord({"n": calls})
        return Message(RecordDict({"out": ConfigRecord({"client": client, "calls": calls})}), reply_to=message)

    return app


def ask(grid: LocalGrid, timeout: float | None = None) -> dict[int, Message]:
    messages = [Message(RecordDict(), node_id, "train") for node_id in grid.get_node_ids()]
    return {reply.metadata.src_node_id: reply for reply in grid.send_and_receive(messages, timeout=timeout)}


def test_every_client_has_its_partition_and_keeps_its_state() -> None:
    grid = LocalGrid(counting_app(), 5, {})
    ask(grid)
    replies = ask(grid)
    answered = {
        reply.content["out"]["client"]: reply.content["out"]["calls"]
        for reply in replies.values()
        if reply.has_content()
    }
    assert answered == {0: 2, 1: 2, 3: 2, 4: 2}


def test_a_client_that_raises_yields_an_error_reply() -> None:
    replies = ask(LocalGrid(counting_app(), 4, {}))
    (failed,) = [reply for reply in replies.values() if reply.has_error()]
    assert failed.error.reason == "ValueError: client 2 cannot"


def test_a_timeout_is_held_against_each_client_alone() -> None:
    replies = ask(LocalGrid(counting_app(), 5, {}), timeout=0.04)
    assert sorted(replies) == [1, 2, 3, 5]  # node ids of clients 0, 1, 2 and 4


def test_shuffling_moves_clients_over_nodes_and_loses_none() -> None:
    grid = LocalGrid(counting_app(), 20, {}, shuffle_seed=1)
    replies = ask(grid)
    clients = [reply.content["out"]["client"] for reply in replies.values() if reply.has_content()]
    assert sorted(clients) == [client for client in range(20) if client != 2]
    assert clients != sorted(clients)


def test_replies_come_while_others_still_wait() -> None:
    grid = LocalGrid(counting_app(), 3, {})
    replies = iter(grid.send_and_receive([Message(RecordDict(), node, "train") for node in (1, 2)]))
    first = next(replies)
    assert first.metadata.src_node_id == 1
    assert first.content["out"]["calls"] == 1


def test_pushed_messages_can_be_pulled_once() -> None:
    grid = LocalGrid(counting_app(), 2, {})
    ids = grid.push_messages([grid.create_message(RecordDict(), "train", node, "1") for node in grid.get_node_ids()])
    replies = grid.pull_messages(ids)
    assert [reply.metadata.reply_to_message_id for reply in replies] == ids
    assert grid.pull_messages(ids) == []


def test_an_interrupt_is_not_swallowed() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(LocalGrid(app, 1, {}))
