"""Part b: the MNIST experiment of `simulations/mnist.toml`, as fedkd, as Flower and as a plain loop run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from flwr.app import UserConfig

from benchmarks.child import Stopwatch
from benchmarks.engines import LOCAL, RAY, WithRunConfig, flower_simulation, with_run_config
from benchmarks.experiments import MarkRounds, plain_settings, student_digest, told
from benchmarks.measure import ROOT, Case
from benchmarks.plain_loop import Scores, State, run
from benchmarks.plain_problem import make_world
from benchmarks.plain_two_processes import run_on_two
from benchmarks.stock_flower import run_stock
from fedkd.config.experiment import load_config
from fedkd.data.federated import load_federated_data
from fedkd.engines.absence import app as client_app
from fedkd.federation.client_app import EXPERIMENT_KEY
from fedkd.federation.server_app import FederationResult, build_server_app

METHODS = ("fedavg", "fkd")
ENGINES = {"local": LOCAL, "ray": RAY}


def cases(data_root: Path, *, quick: bool) -> list[Case]:
    """Both methods, each on everything that can run it; quick: fkd in two rounds on scikit-learn's digits."""
    functions = {
        "plain": "mnist_rounds:run_plain",
        "plain-2": "mnist_rounds:run_plain_on_two",
        "local": "experiments:run_fedkd",
        "ray": "experiments:run_fedkd",
        "flower": "mnist_rounds:run_flower",
    }
    toml = str(ROOT / "simulations" / ("digits.toml" if quick else "mnist.toml"))
    shrink = ["run.rounds=2"] if quick else []

    def case(method: str, name: str, function: str, *more: str) -> Case:
        overrides = [*_overrides(method, data_root), *shrink, *more]
        return Case(f"b/{method}/{name}", f"benchmarks.{function}", {"toml": toml, "overrides": overrides})

    measured = [
        case(method, name, function, *ENGINES.get(name, ()))
        for method in (METHODS[-1:] if quick else METHODS)
        for name, function in functions.items()
    ]
    return [*measured, case("fkd", "plain-whole", functions["plain"], "student.shards=1")]


def _overrides(method: str, data_root: Path) -> list[str]:
    values = [f"method.name={method}", f"data.root={data_root}", "run.device=cpu", "run.baselines=false"]
    values.append("run.evaluate_clients_every=0")  # as the stock app, which scores the student only
    return [*values, "student.shards=2"] if method == "fkd" else values


def run_plain(watch: Stopwatch, toml: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The plain loop in this process."""
    torch.set_num_threads(1)
    config = load_config(toml, overrides)
    settings = plain_settings(config)
    data = load_federated_data(config.data, config.clients.number, settings.seed)
    world = make_world(settings, data, range(config.clients.number))
    watch.begin()
    return _plain_told(*run(world, watch.end))


def run_plain_on_two(watch: Stopwatch, toml: str, overrides: Sequence[str]) -> dict[str, Any]:
    """The plain loop over two processes."""
    torch.set_num_threads(1)
    config = load_config(toml, overrides)
    return _plain_told(*run_on_two(plain_settings(config), config.data, config.clients.number, watch.begin, watch.end))


def _plain_told(student: State, scores: Sequence[Scores]) -> dict[str, Any]:
    last = scores[-1]
    return {
        "student": student_digest({key: tensor.numpy() for key, tensor in student.items()}),
        "student_accuracy": last.student,
        "mean_client_accuracy": sum(last.clients) / len(last.clients) if last.clients else None,
        "teacher_accuracy": last.teacher,
    }


def run_flower(watch: Stopwatch, toml: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Flower's simulation: of a stock Flower app for `fedavg`, of fedkd's own apps for what Flower does not have."""
    config = load_config(toml, overrides)
    if config.method.name == "fedavg":
        return run_stock(watch, config)
    results: list[FederationResult] = []
    run_config: UserConfig = {EXPERIMENT_KEY: config.model_dump_json()}
    server_app = with_run_config(build_server_app(MarkRounds(watch), results.append), run_config)
    flower_simulation(WithRunConfig(client_app, run_config), server_app, config.clients.number)
    return told(results[0])
