"""Part a: rounds in which nobody computes, so that what is left is the engine.

Flower's own FedAvg sends 50,000 floats to each of 20 clients for training and gets as many back, then sends them for
evaluation. One round more than is measured goes before: it starts what an engine starts lazily.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from benchmarks.child import Stopwatch
from benchmarks.engines import flower_simulation, local_grid, ray_grid
from benchmarks.measure import Case

NUM_CLIENTS = 20
NUM_FLOATS = 50_000
ENGINES = ("local", "ray", "flower")


def cases(*, quick: bool) -> list[Case]:
    """One case an engine."""
    rounds = 2 if quick else 10
    return [
        Case(f"a/{engine}", "benchmarks.empty_rounds:run", {"engine": engine, "rounds": rounds}) for engine in ENGINES
    ]


def empty_app() -> ClientApp:
    """A client app that gives back what it got."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        del context
        metrics = MetricRecord({"num-examples": 1})
        content = RecordDict({"arrays": message.content["arrays"], "metrics": metrics})
        return Message(content, reply_to=message)

    @app.evaluate()
    def evaluate(message: Message, context: Context) -> Message:
        del context
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 1, "loss": 0.0})}), reply_to=message)

    return app


class TimedFedAvg(FedAvg):
    """Flower's FedAvg over all clients, with marks at the second round's beginning and at the last one's end."""

    def __init__(self, watch: Stopwatch, last_round: int) -> None:
        super().__init__(min_train_nodes=NUM_CLIENTS, min_evaluate_nodes=NUM_CLIENTS, min_available_nodes=NUM_CLIENTS)
        self._watch, self._last_round = watch, last_round

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        if server_round == 2:
            self._watch.begin()
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        metrics = super().aggregate_evaluate(server_round, replies)
        if server_round == self._last_round:
            self._watch.end()
        return metrics


def run(watch: Stopwatch, engine: str, rounds: int) -> dict[str, Any]:
    """Run one case; tells what the rounds ended with, which no engine may change."""
    arrays = ArrayRecord({"floats": Array(np.linspace(0, 1, NUM_FLOATS, dtype=np.float32))})
    results = []

    def start(grid: Grid) -> None:
        results.append(TimedFedAvg(watch, rounds + 1).start(grid, arrays, num_rounds=rounds + 1))

    if engine == "flower":
        flower_simulation(empty_app(), _server_app(start), NUM_CLIENTS)
    else:
        grids = {"local": local_grid, "ray": ray_grid}
        with grids[engine](empty_app, NUM_CLIENTS, {}) as grid:
            start(grid)
    (result,) = results
    floats = result.arrays["floats"].numpy()
    return {"rounds": len(result.evaluate_metrics_clientapp) - 1, "sum": float(floats.sum(dtype=np.float64))}


def _server_app(start: Any) -> ServerApp:
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        start(grid)

    return app
