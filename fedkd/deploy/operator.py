"""Flower's own commands, as the operator of a deployment gives them: over loopback, to the SuperLink's Control API."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedkd.deploy.folder import Deployment
from fedkd.errors import DeploymentError, RunFolderError
from fedkd.storage.files import read_json_object, to_toml, write_atomically

_CONNECTION = "fedkd"
_REGISTERED, _RUNS = "registered.json", "runs.json"
_MANY_RUNS = 100_000
"""Flower lists the newest 20 runs unless it is told otherwise."""


def write_connection(deployment: Deployment) -> None:
    """Write the configuration that Flower's commands read from their home.

    Raises:
        RunFolderError: it cannot be written.
    """
    connection = {
        "address": f"127.0.0.1:{deployment.settings.control_port}",
        "root-certificates": str(deployment.authority / "ca.crt"),
        "insecure": False,
    }
    content = to_toml({"superlink": {"default": _CONNECTION, _CONNECTION: connection}})
    write_atomically(deployment.operator / "config.toml", content.encode())


def node_ids(deployment: Deployment) -> dict[int, str]:
    """The node id under which each client's key was registered.

    Raises:
        RunFolderError: the file that holds them is damaged.
    """
    return {int(client): str(node) for client, node in _noted(deployment, _REGISTERED).items()}


def list_nodes(deployment: Deployment) -> dict[str, str]:
    """Status of each node by its id: `registered`, `online`, `offline` or `unregistered`.

    Raises:
        DeploymentError: the SuperLink does not answer.
    """
    answer = _asked(deployment, "supernode", "list", _CONNECTION)
    return {node["node-id"]: node["status"] for node in answer.get("nodes", ())}


def register(deployment: Deployment) -> list[int]:
    """Register the keys of all clients that the SuperLink does not know; returns these clients.

    Raises:
        DeploymentError: the SuperLink does not answer, or refuses a key.
    """
    nodes = list_nodes(deployment)
    known = {
        client: node
        for client, node in node_ids(deployment).items()
        if nodes.get(node, "unregistered") != "unregistered"
    }
    new = [client for client in deployment.settings.clients if client not in known]
    for client in new:
        key = str(deployment.site(client) / "keys" / "node.pub")
        answer = _asked(deployment, "supernode", "register", key, _CONNECTION, "--name", f"client-{client}")
        known[client] = str(answer["node-id"])
        _write_node_ids(deployment, known)
    return new


def unregister(deployment: Deployment, client: int) -> None:
    """Let the SuperLink refuse a client's key from now on.

    Raises:
        DeploymentError: the SuperLink does not answer.
    """
    known = node_ids(deployment)
    if client in known:
        if list_nodes(deployment).get(known[client], "unregistered") != "unregistered":
            _asked(deployment, "supernode", "unregister", known[client], _CONNECTION)
        _write_node_ids(deployment, {key: node for key, node in known.items() if key != client})


def submit(deployment: Deployment, app: Path, run_config: Path) -> str:
    """Submit an app; returns the id of its run.

    Raises:
        DeploymentError: the SuperLink does not answer, or refuses the app.
    """
    return str(_asked(deployment, "run", str(app), _CONNECTION, "--run-config", str(run_config))["run-id"])


def stop_run(deployment: Deployment, run_id: str) -> None:
    """End a run; what it has written stays.

    Raises:
        DeploymentError: the SuperLink does not answer, or the run has ended.
    """
    _asked(deployment, "stop", run_id, _CONNECTION)


def run_log(deployment: Deployment, run_id: str) -> Iterator[str]:
    """The lines of a run's log as they come, until the run ends."""
    with subprocess.Popen(  # noqa: S603 - Flower's own program
        ["flwr", "log", run_id, _CONNECTION, "--stream"],  # noqa: S607 - from PATH, which names this environment first
        env=_environment(deployment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            yield from (line.rstrip() for line in process.stdout or ())
        finally:
            process.terminate()


def run_status(deployment: Deployment, run_id: str) -> str:
    """Status of a run in Flower's words, as `running` or `finished:completed`.

    Raises:
        DeploymentError: the SuperLink does not answer, or knows no such run.
    """
    runs = _asked(deployment, "list", _CONNECTION, "--run-id", run_id).get("runs", ())
    if not runs:
        raise DeploymentError(f"the SuperLink knows no run {run_id}")
    return str(runs[0]["status"])


def runs_that_go_on(deployment: Deployment) -> dict[str, str]:
    """Status of each run that has not ended, in Flower's words, by its id.

    Raises:
        DeploymentError: the SuperLink does not answer.
    """
    runs = _asked(deployment, "list", _CONNECTION, "--limit", str(_MANY_RUNS)).get("runs", ())
    statuses = {str(run["run-id"]): str(run["status"]) for run in runs}
    return {run_id: status for run_id, status in statuses.items() if not status.startswith("finished")}


def run_ids(deployment: Deployment) -> dict[str, tuple[str, ...]]:
    """Flower's ids of each run that was started here, by the name of its folder: one, and one more for each time that
    it was resumed, oldest first.

    Raises:
        RunFolderError: the file that holds them is damaged.
    """
    noted = _noted(deployment, _RUNS)
    for name, ids in noted.items():
        if not isinstance(ids, list) or not ids or not all(isinstance(each, str) and each.isdecimal() for each in ids):
            raise RunFolderError(f"{deployment.operator / _RUNS} is damaged: {name} has no list of run ids")
    return {name: tuple(ids) for name, ids in noted.items()}


def note_run(deployment: Deployment, name: str, ids: Sequence[str]) -> None:
    """Write down which runs have written into a folder, oldest first.

    Raises:
        RunFolderError: it cannot be written.
    """
    _note(deployment, _RUNS, {**run_ids(deployment), name: ids})


def _write_node_ids(deployment: Deployment, nodes: dict[int, str]) -> None:
    _note(deployment, _REGISTERED, {str(client): node for client, node in sorted(nodes.items())})


def _noted(deployment: Deployment, name: str) -> dict[str, Any]:
    path = deployment.operator / name
    return read_json_object(path) if path.is_file() else {}


def _note(deployment: Deployment, name: str, content: Mapping[str, str | Sequence[str]]) -> None:
    write_atomically(deployment.operator / name, json.dumps(content, indent=2).encode() + b"\n")


def _asked(deployment: Deployment, *arguments: str) -> dict[str, Any]:
    """The JSON object with which a command of Flower's answers."""
    command = ["flwr", *arguments, "--format", "json"]
    try:
        done = subprocess.run(  # noqa: S603 - Flower's own program
            command, env=_environment(deployment), capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as cause:
        raise DeploymentError(f"flwr cannot be started: {cause.strerror}") from cause
    answer = _last_object(done.stdout)
    if done.returncode or not answer.get("success"):
        said = answer.get("error-message") or " ".join((done.stdout + done.stderr).split())[-300:]
        raise DeploymentError(f"`flwr {' '.join(arguments[:2])}` failed: {said}")
    return answer


def _last_object(text: str) -> dict[str, Any]:
    """The JSON object at the end of what a command has printed."""
    start = text.find("{")
    try:
        answer = json.loads(text[start:]) if start >= 0 else {}
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _environment(deployment: Deployment) -> dict[str, str]:
    programs = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    return os.environ | {
        "FLWR_HOME": str(deployment.operator),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
        "PATH": programs,
    }
