"""Who is registered, who is there, and who cannot take part and why."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fedkd.deploy.certificates import days_left
from fedkd.deploy.engine import Container, containers, log_tail
from fedkd.deploy.folder import Deployment
from fedkd.deploy.operator import list_nodes, node_ids

_ERROR = re.compile(r"(?:^|\s)(?:unexpected )?error: (?P<said>.+)")
_LINES = 40


@dataclass(frozen=True)
class ClientStatus:
    """One client.

    Args:
        client: its number.
        node: what the SuperLink says of its key: `not registered`, `registered`, `online`, `offline`.
        container: the engine's words; empty where there is none on this host.
        elsewhere: whether it runs on another host.
        problem: the error that its log ends with, if it is not online.
    """

    client: int
    node: str
    container: str
    elsewhere: bool
    problem: str


@dataclass(frozen=True)
class DeploymentStatus:
    """A deployment.

    Args:
        services: the server's containers.
        clients: in the order of their numbers.
        certificate_days: until the first of the server's certificates expires.
    """

    services: tuple[Container, ...]
    clients: tuple[ClientStatus, ...]
    certificate_days: int


def read_status(deployment: Deployment) -> DeploymentStatus:
    """Ask SuperLink and engine.

    Raises:
        DeploymentError: one of them does not answer.
    """
    found = {container.service: container for container in containers(deployment)}
    nodes, ids = list_nodes(deployment), node_ids(deployment)
    clients = []
    for client in deployment.settings.clients:
        node = nodes.get(ids.get(client, ""), "unregistered")
        container = found.pop(f"client-{client}", None)
        elsewhere = client in deployment.settings.elsewhere
        problem = "" if node == "online" else _problem(deployment, client, container)
        clients.append(
            ClientStatus(
                client,
                "not registered" if node == "unregistered" else node,
                container.status if container else "",
                elsewhere,
                problem,
            )
        )
    keys = deployment.server_keys
    days = min(
        days_left(path) for path in (keys / "superlink.crt", keys / "gateway.crt", deployment.authority / "ca.crt")
    )
    return DeploymentStatus(tuple(found.values()), tuple(clients), days)


def _problem(deployment: Deployment, client: int, container: Container | None) -> str:
    if container is not None:
        return last_error(deployment, client)
    if client in deployment.settings.elsewhere:
        return "`fedkd client check` at its site says why"
    return "it has no container; `fedkd deploy start` makes one"


def last_error(deployment: Deployment, client: int) -> str:
    """The last error that a client on this host has logged; empty where there is none.

    Raises:
        DeploymentError: the engine does not answer.
    """
    found = [
        match["said"] for line in log_tail(deployment, f"client-{client}", _LINES) if (match := _ERROR.search(line))
    ]
    return found[-1] if found else ""
