"""The Flower `ServerApp`: builds the strategy from the configuration and runs it over whatever grid it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig
from fedkd.distillation.executor import LocalExecutor
from fedkd.federation.checkpoints import Checkpoints, Saving
from fedkd.federation.client_app import config_of
from fedkd.federation.model_checks import check_models
from fedkd.federation.observers import Observer, Observers
from fedkd.federation.references import compose_method
from fedkd.federation.replies import ReplyHandler
from fedkd.federation.secure.rounds import SecureRounds
from fedkd.federation.server import Server
from fedkd.federation.strategy import DistillationStrategy
from fedkd.federation.threads import one_torch_thread
from fedkd.federation.weights import read_weights
from fedkd.federation.workspace import Workspace, open_workspace
from fedkd.flower.object_pulls import look_often_for_objects
from fedkd.flower.polling_grid import PollingGrid
from fedkd.flower.simulated_grid import SimulatedGrid
from fedkd.methods import Method
from fedkd.records import RoundRecord


@dataclass(frozen=True)
class FederationResult:
    """Every round, and the final student (`None` for a method without one)."""

    history: tuple[RoundRecord, ...]
    student: Weights | None


def build_server_app(
    observer: Observer, deliver: Callable[[FederationResult], None], checkpoints: Checkpoints | None = None
) -> ServerApp:
    """Make a server app that tells `observer` of its progress and hands its result to `deliver`.

    With `checkpoints` it goes on where they say, and saves after every round; the clients' part only on a grid of ours.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        config = config_of(context)
        method = compose_method(config.method)
        workspace = open_workspace(config)
        check_models(config, method, workspace)
        simulated = grid if isinstance(grid, SimulatedGrid) else None
        server = Server(config, method, workspace, simulated.executor if simulated else LocalExecutor())
        handler = ReplyHandler(config, method, workspace, _expected_weights(config, method, workspace))
        observers = [observer]
        history: tuple[RoundRecord, ...] = ()
        if checkpoints is not None:
            checkpoints.restore(server, handler, simulated)
            observers.append(Saving(checkpoints, server, handler, simulated))
            history = checkpoints.history
        told = Observers(observers)
        secure = SecureRounds(config, method, workspace, told.on_reply) if config.secure_aggregation.enabled else None
        strategy = DistillationStrategy(config, server, handler, workspace, told, history, secure)
        if simulated is None:
            look_often_for_objects()
        with one_torch_thread():
            strategy.start(simulated or PollingGrid(grid))
        deliver(FederationResult(tuple(strategy.history), server.student_weights))

    return app


def run_server_app(
    grid: Grid, context: Context, observer: Observer, checkpoints: Checkpoints | None = None
) -> FederationResult:
    """Run the federation that a context describes over a grid, as whoever this process is to Flower."""
    results: list[FederationResult] = []
    build_server_app(observer, results.append, checkpoints)(grid, context)
    return results[0]


def _expected_weights(config: ExperimentConfig, method: Method, workspace: Workspace) -> dict[str, Weights]:
    if not method.sends_model:
        return {}
    return {name: read_weights(workspace.build_model(name, seed=0)) for name in set(config.clients.models)}
