"""What the engines are compared with does the work that it is said to do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

from benchmarks.child import Stopwatch
from benchmarks.empty_rounds import run as run_empty_rounds
from benchmarks.engines import WithRunConfig, local_grid, with_run_config
from benchmarks.stock_flower import run_stock
from fedkd.config.experiment import ExperimentConfig
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer


def simulate_locally(client_app: ClientApp, server_app: ServerApp, num_clients: int) -> None:
    """Stands in for Flower's simulation, which would start Ray."""
    with local_grid(lambda: client_app, num_clients, {}) as grid:
        server_app(grid, Context(grid.run.run_id, 0, {}, RecordDict(), {}))


def test_empty_rounds_bring_back_what_was_sent() -> None:
    watch = Stopwatch()
    told = run_empty_rounds(watch, "local", rounds=1)
    assert told == {"rounds": 1, "sum": pytest.approx(25_000)}
    assert watch.marks()["rounds"] > 0


def test_the_stock_app_learns_as_fedkd_does(tiny_config: Callable[..., ExperimentConfig]) -> None:
    config = tiny_config(method={"name": "fedavg"}, run={"rounds": 6, "device": "cpu", "baselines": False})
    torch.manual_seed(0)
    stock = run_stock(Stopwatch(), config, simulate_locally)["student_accuracy"]
    ours = simulate(config, Observer()).history[-1].student.accuracy
    assert ours is not None
    assert min(stock, ours) > 0.3  # of ten classes
    assert stock == pytest.approx(ours, abs=0.2)


def test_an_app_gets_a_run_config_and_keeps_its_state() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        calls = int(context.state.config_records.get("calls", ConfigRecord({"n": 0}))["n"]) + 1  # type: ignore[arg-type]
        context.state["calls"] = ConfigRecord({"n": calls})
        answer = ConfigRecord({"calls": calls, "key": str(context.run_config["key"])})
        return Message(RecordDict({"answer": answer}), reply_to=message)

    answers = []
    server_app = ServerApp()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:
        for _ in range(2):
            (reply,) = grid.send_and_receive([Message(RecordDict(), 1, "train")])
            answers.append(dict(reply.content["answer"]))
        answers.append(dict(context.run_config))

    simulate_locally(WithRunConfig(app, {"key": "client's"}), with_run_config(server_app, {"key": "server's"}), 1)
    assert answers == [{"calls": 1, "key": "client's"}, {"calls": 2, "key": "client's"}, {"key": "server's"}]
