"""Start a deployment, and run an experiment on it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from fedkd.config.experiment import ExperimentConfig, load_config
from fedkd.deploy.engine import compose, remove_unused_networks
from fedkd.deploy.folder import Deployment
from fedkd.deploy.operator import (
    list_nodes,
    note_run,
    register,
    run_ids,
    run_log,
    run_status,
    runs_that_go_on,
    stop_run,
    submit,
)
from fedkd.errors import ConfigError, DeploymentError
from fedkd.flower.app_bundle import EXPERIMENT_KEY, RESUMED_KEY, write_app
from fedkd.reporting import RunStore, run_name
from fedkd.storage.files import naming_failures, to_toml

SERVER_SERVICES = ("superlink", "gateway", "server-app")
SITES = "sites"
_DATA_IN_CONTAINER, _RUNS_IN_CONTAINER, _ROSTER_IN_CONTAINER = "/data", "/runs", "/roster"
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
    if deployment.clients_here:
        compose(deployment, *up, "--no-deps", *(f"client-{client}" for client in deployment.clients_here))
    remove_unused_networks(deployment)
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
        ConfigError: the experiment is none for sites, or for another number of clients; its run folder is there.
        DeploymentError: a run of this name is still going, the SuperLink does not answer, or the run failed.
    """
    roster = f"secure_aggregation.identities={_ROSTER_IN_CONTAINER}"  # wherever the file's author has it
    config = deployed_config(deployment, load_config(config_path, [*overrides, roster]), datetime.now(UTC))
    name = config.run.name
    if (deployment.runs / name).exists():
        raise ConfigError("run.name", name, f"a name that is free in {deployment.runs}; `fedkd deploy resume` goes on")
    _require_ended(deployment, name, run_ids(deployment).get(name, ()))  # it may not have made its folder yet
    return _run(deployment, config, (), show)


def resume_deployed(deployment: Deployment, name: str, show: Callable[[str], None]) -> Path:
    """Go on with a run that ended too early, from the snapshot after its last whole round; returns its run folder. It
    waits for no more clients than the deployment has now.

    Args:
        deployment: the one that it was run on.
        name: of its folder in `runs/`.
        show: told every line of the log.

    Raises:
        ConfigError: this deployment has started no such run.
        DeploymentError: it is still going, the SuperLink does not answer, or the run failed.
        RunFolderError: its folder is damaged.
    """
    before = _run_ids(deployment, name)
    config = load_config(RunStore.open(deployment.runs / name).config_path)
    _require_ended(deployment, name, before)
    there = min(config.clients.min_available_nodes or config.clients.number, len(deployment.settings.clients))
    clients = config.clients.model_copy(update={"min_available_nodes": there})  # some may have been revoked since
    config = config.model_copy(update={"clients": clients})
    return _run(deployment, config, before, show)


def stop_deployed(deployment: Deployment, name: str) -> None:
    """End a run; `resume_deployed` goes on with it.

    Raises:
        ConfigError: this deployment has started no such run.
        DeploymentError: the SuperLink does not answer, or the run has ended.
    """
    stop_run(deployment, _run_ids(deployment, name)[-1])


def _run_ids(deployment: Deployment, name: str) -> tuple[str, ...]:
    known = run_ids(deployment)
    if name not in known:
        raise ConfigError("NAME", name, f"a run that was started here: {', '.join(known) or 'there is none'}")
    return known[name]


def _require_ended(deployment: Deployment, name: str, ids: Sequence[str]) -> None:
    """Two runs must not write into one folder; a run that the SuperLink does not know has ended."""
    going = runs_that_go_on(deployment) if ids else {}
    for run_id in ids:
        if run_id in going:
            raise DeploymentError(f"run {name} is {going[run_id]} (id {run_id}); `fedkd deploy stop` ends it")


def _run(deployment: Deployment, config: ExperimentConfig, resumed: Sequence[str], show: Callable[[str], None]) -> Path:
    """Submit the app, follow its log, and tell success from failure."""
    with tempfile.TemporaryDirectory(prefix="fedkd-") as folder:
        app, run_config = Path(folder) / "app", Path(folder) / "run.toml"
        write_app(app)
        with naming_failures("write", run_config):
            values = {EXPERIMENT_KEY: config.model_dump_json(), RESUMED_KEY: ",".join(resumed)}
            run_config.write_text(to_toml(values), encoding="utf-8")
        run_id = submit(deployment, app, run_config)
    note_run(deployment, config.run.name, (*resumed, run_id))
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
    settings = deployment.settings
    if config.clients.number != settings.num_clients:
        known = ", ".join(map(str, settings.clients))
        allowed = f"{settings.num_clients}; the deployment has client {known}"
        raise ConfigError("clients.number", config.clients.number, allowed)
    there = config.clients.min_available_nodes or len(settings.clients)  # fewer than `number` where one was revoked
    name = config.run.name or run_name(config.method.name, config.data.source, config.run.seed, now)
    run = config.run.model_copy(update={"name": name, "output": _RUNS_IN_CONTAINER})
    data = config.data.model_copy(update={"root": _DATA_IN_CONTAINER})
    clients = config.clients.model_copy(update={"min_available_nodes": there})
    return config.model_copy(update={"run": run, "data": data, "clients": clients})


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
