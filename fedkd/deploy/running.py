"""Start a deployment, and run an experiment on it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from fedkd.config import ExperimentConfig, load_config
from fedkd.deploy.engine import compose
from fedkd.deploy.folder import Deployment
from fedkd.deploy.operator import list_nodes, register, run_log, run_status, submit
from fedkd.errors import ConfigError, DeploymentError
from fedkd.federation.bundle import EXPERIMENT_KEY, write_app
from fedkd.reporting import run_name
from fedkd.reporting.files import naming_failures, to_toml

SERVER_SERVICES = ("superlink", "gateway", "server-app")
SITES = "sites"
_DATA_IN_CONTAINER, _RUNS_IN_CONTAINER = "/data", "/runs"
_PATIENCE = 90.0
"""Seconds in which a SuperLink that was just started must answer."""


def start(deployment: Deployment, *, restart: bool = False) -> list[int]:
    """Start the server, register the keys that the SuperLink does not know, start the clients of this host; returns the
    clients whose keys were registered.

    Args:
        deployment: what to start.
        restart: also restart what is running, so that it reads its files anew.

    Raises:
        DeploymentError: the engine or the SuperLink does not answer.
    """
    up = ["up", "--detach", "--remove-orphans", *(["--force-recreate"] if restart else [])]
    compose(deployment, *up, *SERVER_SERVICES)
    _wait_for_superlink(deployment)
    new = register(deployment)
    compose(deployment, *up, "--no-deps", *(f"client-{client}" for client in deployment.settings.clients))
    return new


def run_deployed(
    deployment: Deployment, config_path: Path, overrides: Iterable[str], show: Callable[[str], None]
) -> Path:
    """Run an experiment over the clients of a deployment; returns its run folder.

    Args:
        deployment: one that was started.
        config_path: the experiment; its samples lie at the sites (`data.source = "sites"`).
        overrides: `section.key=value`.
        show: told every line of the run's log.

    Raises:
        ConfigError: the experiment is none for sites, or for another number of clients.
        DeploymentError: the SuperLink does not answer, or the run failed.
    """
    config = deployed_config(deployment, load_config(config_path, overrides), datetime.now(UTC))
    with tempfile.TemporaryDirectory(prefix="fedkd-") as folder:
        app, run_config = Path(folder) / "app", Path(folder) / "run.toml"
        write_app(app)
        with naming_failures("write", run_config):
            run_config.write_text(to_toml({EXPERIMENT_KEY: config.model_dump_json()}), encoding="utf-8")
        run_id = submit(deployment, app, run_config)
    last = ""
    for last in run_log(deployment, run_id):
        show(last)
    status = run_status(deployment, run_id)
    if status != "finished:completed":
        raise DeploymentError(f"the run ended as {status!r}; its log's last line: {last}")
    return deployment.runs / config.run.name


def deployed_config(deployment: Deployment, config: ExperimentConfig, now: datetime) -> ExperimentConfig:
    """The experiment as the server app runs it: with the container's paths, and a name for its run folder.

    Raises:
        ConfigError: it is none for sites, or for another number of clients than the deployment has.
    """
    if config.data.source != SITES:
        raise ConfigError("data.source", config.data.source, f"{SITES!r}: in a deployment, clients hold the samples")
    clients = deployment.settings.clients
    if config.clients.number != len(clients) or tuple(clients) != tuple(range(len(clients))):
        raise ConfigError(
            "clients.number",
            config.clients.number,
            f"{len(clients)}, the clients of the deployment, numbered from 0; it has {', '.join(map(str, clients))}",
        )
    name = config.run.name or run_name(config.method.name, config.data.source, config.run.seed, now)
    run = config.run.model_copy(update={"name": name, "output": _RUNS_IN_CONTAINER})
    data = config.data.model_copy(update={"root": _DATA_IN_CONTAINER})
    return config.model_copy(update={"run": run, "data": data})


def _wait_for_superlink(deployment: Deployment) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            list_nodes(deployment)
        except DeploymentError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1.0)
        else:
            return
