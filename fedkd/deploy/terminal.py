"""A deployment's status for people."""

from __future__ import annotations

from rich.table import Table

from fedkd.deploy.status import DeploymentStatus

FEW_DAYS = 30
"""Days before the end of a certificate from which on it is a problem."""


def status_table(status: DeploymentStatus) -> Table:
    """A row for each service of the server, and for each client."""
    table = Table(box=None, header_style="bold")
    for column in ("service", "SuperLink says", "engine says"):
        table.add_column(column)
    for service in sorted(status.services, key=lambda each: each.service):
        table.add_row(service.service, "", service.status)
    for client in status.clients:
        table.add_row(
            f"client-{client.client}",
            client.node,
            "on another host" if client.elsewhere else client.container or "no container",
        )
    return table


def problems(status: DeploymentStatus) -> list[str]:
    """A line for everything that keeps the federation from running, or soon will."""
    lines = [
        f"{service.service}: {service.status}" for service in status.services if not service.status.startswith("Up")
    ]
    lines += [
        f"client {client.client} is {client.node}{': ' if client.problem else ''}{client.problem}"
        for client in status.clients
        if client.node != "online"
    ]
    if status.certificate_days < FEW_DAYS:
        lines.append(f"a certificate of the server expires in {status.certificate_days} days; fedkd deploy renew")
    return lines
