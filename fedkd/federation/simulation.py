"""A whole federation on this machine: both apps, one grid."""

from __future__ import annotations

from flwr.app import Context, RecordDict, UserConfig

from fedkd.config import ExperimentConfig
from fedkd.federation.client_app import EXPERIMENT_KEY
from fedkd.federation.client_app import app as client_app
from fedkd.federation.engines import LocalGrid
from fedkd.federation.engines.flower import run_under_flower
from fedkd.federation.engines.internals import quiet_logger, task_identity
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult, run_server_app

SERVER_NODE = 0


def simulate(config: ExperimentConfig, observer: Observer, *, shuffle_seed: int | None = None) -> FederationResult:
    """Run the experiment's federation on its engine.

    Args:
        config: the experiment.
        observer: told of progress and of every round.
        shuffle_seed: shuffles node ids and the order in which clients run, on the local engine; the result does not
            depend on it.
    """
    if config.run.engine == "flower":
        return run_under_flower(config, observer)
    run_config: UserConfig = {EXPERIMENT_KEY: config.model_dump_json()}
    grid = LocalGrid(client_app, config.clients.number, run_config, shuffle_seed=shuffle_seed)
    return run_apps(grid, config, observer)


def run_apps(grid: LocalGrid, config: ExperimentConfig, observer: Observer) -> FederationResult:
    """Run the server app over a grid that is there already."""
    context = Context(
        run_id=grid.run.run_id,
        node_id=SERVER_NODE,
        node_config={},
        state=RecordDict(),
        run_config={EXPERIMENT_KEY: config.model_dump_json()},
    )
    with task_identity(grid.run.run_id, SERVER_NODE), quiet_logger():
        return run_server_app(grid, context, observer)
