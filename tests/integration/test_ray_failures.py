"""Clients that take their worker with them, clients that hang, and a server whose workers are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import ray
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from ray import cloudpickle

from fedkd.distillation.shards import Exchange
from fedkd.engines.ray_grid import RayGrid
from fedkd.engines.ray_pool import RayPool
from fedkd.engines.ray_worker import SetUp
from fedkd.errors import EngineError
from fedkd.flower.internals import task_identity

pytestmark = pytest.mark.slow


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _leave_mark(folder: Path, name: str) -> int:
    """How often this was called for `name` before."""
    before = len(list(folder.glob(f"{name}-*")))
    (folder / f"{name}-{before}-{os.getpid()}").touch()
    return before


def unreliable_app(folder: Path) -> ClientApp:
    """Client 1 kills its process the first time, client 2 every time; client 3 hangs. All leave a mark when called."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        client = int(context.node_config["partition-id"])
        calls = _leave_mark(folder, str(client))
        if (client == 1 and calls == 0) or client == 2:
            _die()
        if client == 3:
            time.sleep(600)
        return Message(RecordDict({"out": ConfigRecord({"client": client})}), reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        """The first time all is well and quick; from the second on client 4 dies and client 6 hangs."""
        client = int(context.node_config["partition-id"])
        calls = _leave_mark(folder, f"evaluate{client}")
        if calls > 0 and client == 4:
            _die()
        if calls > 0 and client == 6:
            time.sleep(600)
        return Message(RecordDict({"out": ConfigRecord({"client": client})}), reply_to=message)

    return app


@pytest.fixture(scope="module")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where workers leave their marks."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def pool(ray_on_this_machine: None, marks: Path) -> Iterator[RayPool]:
    """Two workers for all tests: they are replaced when they die."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test
    with RayPool(2, SetUp(partial(unreliable_app, marks), {})) as pool:
        yield pool


def test_a_dead_worker_is_replaced_its_client_asked_once_more_and_a_hung_one_stopped(
    pool: RayPool, marks: Path
) -> None:
    grid = RayGrid(pool, 8)
    with task_identity(run_id=1, node_id=0):
        messages = [Message(RecordDict(), node_id, "train") for node_id in grid.get_node_ids()]
    replies = {reply.metadata.src_node_id - 1: reply for reply in grid.send_and_receive(messages, timeout=3.0)}
    assert sorted(replies) == [0, 1, 2, 4, 5, 6, 7]  # client 3 hung, and was late
    (failed,) = [client for client, reply in replies.items() if reply.has_error()]
    assert failed == 2
    assert replies[2].error.reason == "two workers died while they ran this client: its process died"
    calls = {client: len(list(marks.glob(f"{client}-*"))) for client in range(8)}
    assert calls == {0: 1, 1: 2, 2: 2, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1}  # nobody else was asked twice
    assert pool.size == 2
    ask_again = grid.send_and_receive(messages[4:], timeout=3.0)
    assert sorted(reply.metadata.src_node_id - 1 for reply in ask_again) == [4, 5, 6, 7]


def test_clients_that_share_a_task_do_not_share_its_end(pool: RayPool, marks: Path) -> None:
    grid = RayGrid(pool, 8)
    with task_identity(run_id=1, node_id=0):
        messages = [Message(RecordDict(), node_id, "evaluate") for node_id in grid.get_node_ids()]
    assert len(list(grid.send_and_receive(messages))) == 8
    replies = {reply.metadata.src_node_id - 1: reply for reply in grid.send_and_receive(messages, timeout=3.0)}
    assert sorted(replies) == [0, 1, 2, 3, 4, 5, 7]  # client 6 hung, and was late
    assert [client for client, reply in replies.items() if reply.has_error()] == [4]
    calls = {client: len(list(marks.glob(f"evaluate{client}-*"))) for client in (4, 6)}
    assert calls[4] == 3  # first well, then with others, then alone
    assert calls[6] in (2, 3)  # likewise, where its deadline leaves a slow machine the time


def _die_at_first(folder: Path, number: int) -> int:
    if number == 5 and _leave_mark(folder, "item") == 0:
        _die()
    return number


def test_mapped_work_survives_the_death_of_a_worker(pool: RayPool, marks: Path) -> None:
    executor = RayGrid(pool, 1).executor
    assert executor.map(partial(_die_at_first, marks), list(range(9))) == list(range(9))


def _die_at(number: int) -> int:
    if number == 5:
        _die()
    return number


def test_work_that_kills_every_worker_is_an_engine_error(pool: RayPool) -> None:
    executor = RayGrid(pool, 1).executor
    with pytest.raises(EngineError, match="two Ray workers died while they did the same work: its process died"):
        executor.map(_die_at, list(range(9)))


def _gather_then_die_at_first(folder: Path, exchange: Exchange) -> float:
    if exchange.rank == 1 and _leave_mark(folder, "collective") == 0:
        _die()
    return float(exchange.gather(torch.full((1,), float(exchange.rank))).sum())


def test_a_collective_of_which_one_worker_dies_is_tried_once_more(pool: RayPool, marks: Path) -> None:
    assert RayGrid(pool, 1).executor.run_collective(partial(_gather_then_die_at_first, marks), 2) == 1.0
    assert len(list(marks.glob("collective-*"))) == 2


class _DyingWhenItArrives:
    """Work that kills the second worker that unpacks it, before they have met."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, ...]:
        return _arrive, (self.folder,)

    def __call__(self, exchange: Exchange) -> float:
        return float(exchange.gather(torch.ones(1)).sum())


def _arrive(folder: Path) -> _DyingWhenItArrives:
    for name in ("survivor", "victim"):  # each once
        try:
            (folder / name).mkdir()
        except FileExistsError:
            continue
        if name == "victim":
            _die()
        break
    return _DyingWhenItArrives(folder)


def test_nobody_waits_for_one_that_died_on_the_way_to_the_others(pool: RayPool, marks: Path) -> None:
    started = time.monotonic()
    assert RayGrid(pool, 1).executor.run_collective(_DyingWhenItArrives(marks), 2) == 2.0
    assert (marks / "victim").exists()
    assert time.monotonic() - started < 120  # and not the minutes for which workers wait for each other


def test_a_defect_in_the_work_names_itself(pool: RayPool) -> None:
    executor = RayGrid(pool, 1).executor
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        executor.map(partial(divmod, 1), [1, 0, 1])


def _fail_to_load() -> ClientApp:
    raise ModuleNotFoundError("No module named 'wings'")


@pytest.mark.usefixtures("ray_on_this_machine")
def test_a_worker_that_cannot_get_ready_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match=r"a Ray worker cannot start: .*No module named 'wings'"):
        RayPool(1, SetUp(_fail_to_load, {}))


@pytest.mark.usefixtures("ray_on_this_machine")
def test_closing_a_pool_ends_its_processes() -> None:
    with RayPool(1, SetUp(ClientApp, {})) as pool:
        pids = RayGrid(pool, 1).executor.map(_process, [0, 1, 2, 3])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and any(Path(f"/proc/{pid}").exists() for pid in pids):
        time.sleep(0.1)
    assert not [pid for pid in set(pids) if Path(f"/proc/{pid}").exists()]
    assert ray.is_initialized()


def _process(number: int) -> int:
    return os.getpid()
