"""A whole federation on machines of ours: both apps, one grid."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from flwr.app import Context, RecordDict, UserConfig
from flwr.clientapp import ClientApp

from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.data.federated import FederatedData
from fedkd.engines import LocalGrid, SimulatedGrid
from fedkd.engines.absence import app as client_app
from fedkd.engines.flower import run_under_flower
from fedkd.errors import RunFolderError
from fedkd.federation.checkpoints import Checkpoints
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult, run_server_app
from fedkd.federation.workspace import open_workspace, provide_data
from fedkd.flower.app_bundle import EXPERIMENT_KEY
from fedkd.flower.internals import quiet_logger, task_identity

SERVER_NODE = 0


def simulate(
    config: ExperimentConfig,
    observer: Observer,
    checkpoints: Checkpoints | None = None,
    *,
    shuffle_seed: int | None = None,
) -> FederationResult:
    """Run the experiment's federation on its engine.

    Args:
        config: the experiment.
        observer: told of progress and of every round.
        checkpoints: where to go on, and where to save after every round; nothing is saved without them, nor by the
            flower engine.
        shuffle_seed: shuffles node ids and the order in which clients run; the result does not depend on it.

    Raises:
        EngineError: the engine cannot start, or goes down.
        RunFolderError: the flower engine is to go on from a snapshot, which it cannot.
    """
    if config.run.engine == "flower":
        if checkpoints is not None and checkpoints.snapshot is not None:
            raise RunFolderError("the flower engine keeps no snapshots; go on with --engine local or --engine ray")
        return run_under_flower(config, observer)
    with open_grid(config, shuffle_seed=shuffle_seed) as grid:
        return run_apps(grid, config, observer, checkpoints)


@contextmanager
def open_grid(config: ExperimentConfig, *, shuffle_seed: int | None = None) -> Iterator[SimulatedGrid]:
    """Start the engine that `run.engine` names, and stop it when the block ends."""
    number = config.clients.number
    if config.run.engine == "local":
        yield LocalGrid(client_app, number, run_config_of(config), shuffle_seed=shuffle_seed)
        return
    from fedkd.engines.ray_grid import RayGrid  # Ray is slow to import
    from fedkd.engines.ray_pool import RayPool
    from fedkd.engines.ray_session import ray_session
    from fedkd.engines.ray_worker import SetUp

    set_up = SetUp(LoadClientApp(config.model_dump_json(), open_workspace(config).data), run_config_of(config))
    share = {"cpus": config.ray.cpus_per_worker, "gpus": config.ray.gpus_per_worker}
    with ray_session(config.ray, at_most=number) as workers, RayPool(workers, set_up, **share) as pool:
        yield RayGrid(pool, number, shuffle_seed=shuffle_seed)


def run_config_of(config: ExperimentConfig) -> UserConfig:
    """Flower's run config for an experiment."""
    return {EXPERIMENT_KEY: config.model_dump_json()}


@dataclass(frozen=True)
class LoadClientApp:
    """Loads the client app in a worker, and gives it the data that the driver has loaded.

    The experiment comes as JSON: its class may be a user's, in a module that the worker finds only once it is set up.
    """

    experiment: str
    data: FederatedData

    def __call__(self) -> ClientApp:
        """Return the app. Torch loads its compiler, for seconds, with the first optimiser: here, not in a round."""
        torch.optim.SGD([torch.zeros(1)], lr=1.0)
        provide_data(parse_config(json.loads(self.experiment)), self.data)
        return client_app


def run_apps(
    grid: SimulatedGrid, config: ExperimentConfig, observer: Observer, checkpoints: Checkpoints | None = None
) -> FederationResult:
    """Run the server app over a grid that is there already."""
    context = Context(
        run_id=grid.run.run_id,
        node_id=SERVER_NODE,
        node_config={},
        state=RecordDict(),
        run_config=run_config_of(config),
    )
    with task_identity(grid.run.run_id, SERVER_NODE), quiet_logger():
        return run_server_app(grid, context, observer, checkpoints)
