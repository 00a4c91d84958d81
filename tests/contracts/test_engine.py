"""The contract of an engine, over the local one and Ray's: Flower's promises, state, failures, order, equal results."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from ray import cloudpickle

from fedkd.distillation.shards import Exchange
from fedkd.engines import LocalGrid, SimulatedGrid
from fedkd.engines.ray_grid import RayGrid
from fedkd.engines.ray_pool import RayPool
from fedkd.engines.ray_worker import SetUp
from fedkd.errors import RoundError
from fedkd.flower.internals import task_identity

Open = Callable[..., SimulatedGrid]
RUN_CONFIG: UserConfig = {"key": "value"}


def counting_app() -> ClientApp:
    """Replies with the client's id, its calls so far and the sum of the array it was sent. Client 2 raises, client 3
    takes 0.3 s.
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        if client == 2:
            raise ValueError("client 2 cannot")
        if client == 3:
            time.sleep(0.3)
        calls = int(context.state.config_records.get("calls", ConfigRecord({"n": 0}))["n"]) + 1
        context.state["calls"] = ConfigRecord({"n": calls})
        total = sum(float(record["x"].numpy().sum()) for record in message.content.array_records.values())
        reply = ConfigRecord({"client": client, "calls": calls, "total": total, "key": context.run_config["key"]})
        return Message(RecordDict({"out": reply}), reply_to=message)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        """Keeps nothing."""
        return Message(RecordDict(), reply_to=message)

    return app


@pytest.fixture(scope="module")
def pool(ray_on_this_machine: None) -> Iterator[RayPool]:
    """Two workers, for all tests: they outlive a grid."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    with RayPool(2, SetUp(counting_app, RUN_CONFIG)) as pool:
        yield pool


@pytest.fixture(params=["local", "ray"])
def open_engine(request: pytest.FixtureRequest) -> Open:
    """Opens grids of one engine."""
    if request.param == "local":
        return lambda number, **keys: LocalGrid(counting_app(), number, RUN_CONFIG, **keys)
    pool = request.getfixturevalue("pool")
    return lambda number, **keys: RayGrid(pool, number, **keys)


@pytest.fixture(autouse=True)
def _identity() -> Iterator[None]:
    with task_identity(run_id=1, node_id=0):
        yield


def ask(
    grid: SimulatedGrid, timeout: float | None = None, content: RecordDict | None = None, kind: str = "train"
) -> dict[int, Message]:
    content = content or RecordDict()
    messages = [Message(content, node_id, kind) for node_id in grid.get_node_ids()]
    return {reply.metadata.src_node_id: reply for reply in grid.send_and_receive(messages, timeout=timeout)}


def outputs(replies: Mapping[int, Message]) -> dict[int, ConfigRecord]:
    """Client -> what it replied, of those that did not fail."""
    contents = [reply.content["out"] for reply in replies.values() if reply.has_content()]
    return {content["client"]: content for content in contents}


def test_every_client_has_its_partition_run_config_and_state(open_engine: Open) -> None:
    grid = open_engine(6)
    ask(grid)
    ask(grid, kind="query")
    answered = outputs(ask(grid))
    assert {client: out["calls"] for client, out in answered.items()} == {0: 2, 1: 2, 3: 2, 4: 2, 5: 2}
    assert {out["key"] for out in answered.values()} == {"value"}


@pytest.mark.parametrize("length", [10, 100_000])
def test_contents_arrive_whole_whatever_their_size(open_engine: Open, length: int) -> None:
    values = np.arange(length, dtype=np.float64)
    content = RecordDict({"a": ArrayRecord({"x": Array(values)})})
    answered = outputs(ask(open_engine(4), content=content))
    assert {out["total"] for out in answered.values()} == {values.sum()}


def test_a_client_that_raises_yields_an_error_reply_and_the_others_go_on(open_engine: Open) -> None:
    replies = ask(open_engine(6))
    (failed,) = [reply for reply in replies.values() if reply.has_error()]
    assert failed.error.reason == "ValueError: client 2 cannot"
    assert len(replies) == 6


def test_a_timeout_is_held_against_each_client_alone(open_engine: Open) -> None:
    grid = open_engine(6)
    ask(grid, kind="query")
    assert sorted(ask(grid, timeout=0.2)) == [1, 2, 3, 5, 6]  # node ids of all clients but 3


def test_shuffling_moves_clients_over_nodes_and_loses_none(open_engine: Open) -> None:
    replies = ask(open_engine(20, shuffle_seed=1))
    clients = {node: reply.content["out"]["client"] for node, reply in replies.items() if reply.has_content()}
    assert sorted(clients.values()) == [client for client in range(20) if client != 2]
    assert [clients[node] for node in sorted(clients)] != sorted(clients.values())


def test_replies_answer_their_messages(open_engine: Open) -> None:
    grid = open_engine(4)
    content = RecordDict()
    ids = grid.push_messages([grid.create_message(content, "train", node, "7") for node in grid.get_node_ids()])
    assert len(set(ids)) == 4
    replies = grid.pull_messages(ids)
    assert [reply.metadata.reply_to_message_id for reply in replies] == ids
    assert {reply.metadata.group_id for reply in replies} == {"7"}
    assert grid.pull_messages(ids) == []


def test_states_can_be_taken_and_put_into_another_grid(open_engine: Open) -> None:
    first = open_engine(5)
    ask(first)
    states = dict(first.take_changed_states())
    assert sorted(states) == [0, 1, 3, 4]  # client 2 failed before it kept anything
    assert dict(first.take_changed_states()) == {}
    second = open_engine(5)
    second.put_states(states)
    assert {client: out["calls"] for client, out in outputs(ask(second)).items()} == dict.fromkeys([0, 1, 3, 4], 2)
    assert sorted(dict(second.take_changed_states())) == [0, 1, 3, 4]


def test_replies_come_while_others_still_wait() -> None:
    """Of the local engine, whose order is known."""
    grid = LocalGrid(counting_app(), 3, RUN_CONFIG)
    replies = iter(grid.send_and_receive([Message(RecordDict(), node, "train") for node in (1, 2)]))
    first = next(replies)
    assert first.metadata.src_node_id == 1
    assert first.content["out"]["calls"] == 1


def test_an_interrupt_is_not_swallowed() -> None:
    """On the local engine a person's Ctrl-C arrives in the middle of a client."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(LocalGrid(app, 1, {}))


def test_work_is_mapped_in_order(open_engine: Open) -> None:
    assert open_engine(2).executor.map(partial(pow, 2), list(range(40))) == [2**n for n in range(40)]


def fail_on_three(number: int) -> int:
    if number == 3:
        raise RoundError("three")
    return number


def test_an_error_of_the_work_is_raised(open_engine: Open) -> None:
    executor = open_engine(2).executor
    with pytest.raises(RoundError, match="three"):
        executor.map(fail_on_three, [1, 2, 3, 4, 5, 6])
    assert executor.map(fail_on_three, [1, 2]) == [1, 2]


def ranks(exchange: Exchange) -> list[list[float]]:
    """What each worker of a collective gathers, as the first one sees it."""
    import torch

    return exchange.gather(torch.full((2,), float(exchange.rank))).tolist()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_collective_exchanges_tensors(open_engine: Open, size: int) -> None:
    executor = open_engine(2).executor
    expected = [[float(rank)] * 2 for rank in range(min(size, executor.workers))]
    assert executor.run_collective(ranks, size) == expected
    assert executor.run_collective(ranks, size) == expected


def test_a_collective_raises_what_its_work_raises(open_engine: Open) -> None:
    def diverge(exchange: Exchange) -> None:
        raise RoundError(f"diverged in {exchange.size} workers")

    executor = open_engine(2).executor
    with pytest.raises(RoundError, match="diverged"):
        executor.run_collective(diverge, 2)
    assert len(executor.run_collective(ranks, 2)) == min(2, executor.workers)
