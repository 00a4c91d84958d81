"""Clients that come and go, and get new keys."""

from __future__ import annotations

from fedkd.deploy.engine_files import write_engine_files
from fedkd.deploy.folder import Deployment
from fedkd.deploy.initialise import give_data
from fedkd.deploy.operator import unregister
from fedkd.deploy.sites import hand_out, make_site, put_away
from fedkd.federation.identities import ROSTER, make_identities
from fedkd.reporting.files import naming_failures


def add_client(deployment: Deployment) -> tuple[Deployment, int]:
    """Make keys and files for one more client, at the lowest number that is free; returns the deployment with it, and
    its number. `start` registers its key.

    Raises:
        RunFolderError: something cannot be written.
    """
    clients = deployment.settings.clients
    client = min(set(range(len(clients) + 1)) - set(clients))
    changed = _with_clients(deployment, (*clients, client))
    make_site(changed, client)
    give_data(changed)
    return changed, client


def revoke_client(deployment: Deployment, client: int) -> Deployment:
    """Let the SuperLink refuse a client from now on, and put its keys away; returns the deployment without it.

    Raises:
        ConfigError: there is no such client.
        DeploymentError: the SuperLink does not answer: nothing is changed then.
    """
    deployment.require_client(client)
    unregister(deployment, client)
    put_away(deployment, client)
    with naming_failures("remove", deployment.identities / ROSTER):
        (deployment.identities / ROSTER).unlink()
    changed = _with_clients(deployment, tuple(each for each in deployment.settings.clients if each != client))
    make_identities(changed.identities, changed.settings.clients)
    hand_out(changed)
    return changed


def renew_client(deployment: Deployment, client: int) -> Deployment:
    """Give a client new keys under its old number; its old ones are refused from now on. `start` registers them.

    Raises:
        ConfigError: there is no such client.
        DeploymentError: the SuperLink does not answer: nothing is changed then.
    """
    changed, _ = add_client(revoke_client(deployment, client))
    return changed


def _with_clients(deployment: Deployment, clients: tuple[int, ...]) -> Deployment:
    settings = deployment.settings.model_copy(update={"clients": tuple(sorted(clients))})
    changed = Deployment(deployment.folder, settings)
    changed.write_settings()
    write_engine_files(changed)
    return changed
