"""The server waits for its nodes, and says which number is wrong."""

from __future__ import annotations

import time

import pytest
from flwr.clientapp import ClientApp

from fedkd.config.experiment import ClientsConfig
from fedkd.engines import LocalGrid
from fedkd.errors import ConfigError
from fedkd.federation.membership import wait_for_nodes


class GrowingGrid(LocalGrid):
    """Lists one node at the first look, and one more at each later look, until all are there."""

    looks = 0

    def get_node_ids(self) -> list[int]:
        self.looks += 1
        return super().get_node_ids()[: self.looks]


def clients(number: int, join_timeout: float = 60.0) -> ClientsConfig:
    return ClientsConfig(number=number, min_train_nodes=1, join_timeout=join_timeout)


def test_nodes_that_join_one_by_one_are_waited_for() -> None:
    grid = GrowingGrid(ClientApp(), 3, {})
    assert wait_for_nodes(grid, clients(3)) == [1, 2, 3]
    assert grid.looks == 3


def test_a_grid_that_is_complete_costs_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_sleep(seconds: float) -> None:
        raise AssertionError(f"slept {seconds} s")

    monkeypatch.setattr(time, "sleep", no_sleep)
    assert wait_for_nodes(LocalGrid(ClientApp(), 4, {}), clients(4)) == [1, 2, 3, 4]


def test_too_few_nodes_are_refused_when_the_time_is_up() -> None:
    started = time.monotonic()
    with pytest.raises(ConfigError) as caught:
        wait_for_nodes(LocalGrid(ClientApp(), 5, {}), clients(10, join_timeout=0.2))
    assert 0.2 <= time.monotonic() - started < 5
    assert caught.value.key == "clients.number"
    assert str(caught.value).startswith("clients.number = 10 is not allowed: 5 nodes have joined")
    for hint in ("clients.join_timeout", "num-supernodes=10", "set clients.number to 5"):
        assert hint in str(caught.value)


def test_too_many_nodes_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match=r"clients\.number = 2 is not allowed: 3 nodes have joined") as caught:
        wait_for_nodes(LocalGrid(ClientApp(), 3, {}), clients(2))
    assert "join_timeout" not in str(caught.value)


def test_a_run_may_begin_before_everybody_is_there() -> None:
    grid = GrowingGrid(ClientApp(), 3, {})
    few = clients(3).model_copy(update={"min_available_nodes": 2})
    assert wait_for_nodes(grid, few) == [1, 2]
    with pytest.raises(ConfigError, match="1 nodes have joined the federation after 0 s"):
        wait_for_nodes(LocalGrid(ClientApp(), 1, {}), few.model_copy(update={"join_timeout": 0.0}))


def test_the_pauses_between_two_looks_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    wait_for_nodes(GrowingGrid(ClientApp(), 10, {}), clients(10))
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.05, 2.0)
