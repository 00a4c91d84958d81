"""How the cases come to the grids of fedkd and to Flower's simulation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flwr.app import Context, Message, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from fedkd.config.experiment import RayConfig
from fedkd.engines import LocalGrid
from fedkd.engines.ray_grid import RayGrid
from fedkd.engines.ray_pool import RayPool
from fedkd.engines.ray_session import ray_session
from fedkd.engines.ray_worker import SetUp
from fedkd.flower.internals import quiet_logger, task_identity

SERVER_NODE = 0
LOCAL = ("run.engine=local",)
"""Overrides that choose the engine of an experiment."""

WORKERS = 2
RAY = ("run.engine=ray", f"ray.workers={WORKERS}")
"""The same for Ray."""

LoadApp = Callable[[], ClientApp]


@contextmanager
def local_grid(load_app: LoadApp, num_clients: int, run_config: UserConfig) -> Iterator[Grid]:
    """fedkd's engine in this process."""
    grid = LocalGrid(load_app(), num_clients, run_config)
    with task_identity(grid.run.run_id, SERVER_NODE), quiet_logger():
        yield grid


@contextmanager
def ray_grid(load_app: LoadApp, num_clients: int, run_config: UserConfig) -> Iterator[Grid]:
    """fedkd's engine over Ray with two workers."""
    set_up = SetUp(load_app, run_config)
    with ray_session(RayConfig(workers=WORKERS), at_most=num_clients) as workers, RayPool(workers, set_up) as pool:
        grid = RayGrid(pool, num_clients)
        with task_identity(grid.run.run_id, SERVER_NODE), quiet_logger():
            yield grid


def flower_simulation(client_app: ClientApp, server_app: ServerApp, num_clients: int) -> None:
    """Flower's own simulation with one CPU a client, as many clients side by side as there are cores, and no log."""
    logging.getLogger("flwr").disabled = True
    run_simulation(
        server_app,
        client_app,
        num_clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"log_to_driver": False, "logging_level": logging.ERROR},
        },
    )


class WithRunConfig(ClientApp):
    """A client app whose run config is set: `run_simulation` has no argument for it.

    Args:
        app: what is called.
        run_config: what `context.run_config` holds.
    """

    def __init__(self, app: ClientApp, run_config: UserConfig) -> None:
        super().__init__()
        self._inner, self._run_config = app, run_config

    def __call__(self, message: Message, context: Context) -> Message:
        return self._inner(message, _with(context, self._run_config))


def with_run_config(app: ServerApp, run_config: UserConfig) -> ServerApp:
    """The same for a server app."""
    outer = ServerApp()

    @outer.main()
    def main(grid: Grid, context: Context) -> None:
        app(grid, _with(context, run_config))

    return outer


def _with(context: Context, run_config: UserConfig) -> Context:
    """The same node and the same state, with another run config."""
    return Context(context.run_id, context.node_id, context.node_config, context.state, run_config)
