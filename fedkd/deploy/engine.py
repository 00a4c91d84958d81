"""The container engine's own commands: Compose v2 where there is one, else docker-compose."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from fedkd.deploy.folder import Deployment
from fedkd.errors import DeploymentError


@dataclass(frozen=True)
class Container:
    """A container of the deployment's project.

    Args:
        service: its name in the Compose file.
        status: in the engine's words, as `Up 3 minutes (healthy)`.
    """

    service: str
    status: str


def compose(deployment: Deployment, *arguments: str) -> None:
    """Give a command of Compose in the deployment's folder.

    Raises:
        DeploymentError: there is no engine, or the command failed.
    """
    _checked([*_compose_program(), *arguments], deployment)


def containers(deployment: Deployment) -> list[Container]:
    """The deployment's containers on this host, running or not.

    Raises:
        DeploymentError: there is no engine, or it does not answer.
    """
    project = f"label=com.docker.compose.project={deployment.settings.project}"
    form = '{{.Label "com.docker.compose.service"}}\t{{.Status}}'
    printed = _checked(["docker", "ps", "--all", "--filter", project, "--format", form], deployment)
    return [Container(*line.split("\t", 1)) for line in printed.splitlines() if "\t" in line]


def remove_unused_networks(deployment: Deployment) -> None:
    """Remove the networks of clients that are gone from this host.

    Raises:
        DeploymentError: there is no engine, or it does not answer.
    """
    project = f"label=com.docker.compose.project={deployment.settings.project}"
    _checked(["docker", "network", "prune", "--force", "--filter", project], deployment)


def log_tail(deployment: Deployment, service: str, lines: int) -> list[str]:
    """The last lines that a service has logged, of both its streams.

    Raises:
        DeploymentError: there is no engine, or no such container.
    """
    arguments = ["logs", "--no-color", f"--tail={lines}", service]
    return _checked([*_compose_program(), *arguments], deployment).splitlines()


def _compose_program() -> list[str]:
    """The program, by what is installed."""
    if shutil.which("docker") and not _run(["docker", "compose", "version"]).returncode:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise DeploymentError("neither `docker compose` nor `docker-compose` is installed")


def _checked(command: Sequence[str], deployment: Deployment) -> str:
    done = _run(command, str(deployment.folder))
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-400:]
        raise DeploymentError(f"`{' '.join(command[:3])}` failed: {said}")
    return done.stdout + done.stderr


def _run(command: Sequence[str], folder: str | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - the engine's own programs
            list(command), cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )
    except OSError as cause:
        raise DeploymentError(f"{command[0]} cannot be started: {cause.strerror}") from cause
