"""Clients that come and go, get new keys, and move to hosts of their own.

A client's number is its own for good: revoking one leaves the others' as they are, and the number free.
"""

from __future__ import annotations

from pathlib import Path

from fedkd.deploy.engine_files import write_engine_files
from fedkd.deploy.folder import Deployment
from fedkd.deploy.initialise import give_data
from fedkd.deploy.operator import unregister
from fedkd.deploy.private_files import write_once
from fedkd.deploy.site_keys import (
    IDENTITY,
    IDENTITY_PUBLIC,
    NODE_KEY,
    NODE_PUBLIC,
    read_public_identity,
    read_public_node_key,
)
from fedkd.deploy.sites import hand_out, make_site, put_away, put_away_keys, put_away_state
from fedkd.errors import ConfigError
from fedkd.federation.secure.identities import identity_path
from fedkd.storage.files import naming_failures


def add_client(deployment: Deployment) -> tuple[Deployment, int]:
    """Make keys and files for one more client, at the lowest number that is free; returns the deployment with it, and
    its number. `start` registers its key.

    Raises:
        RunFolderError: something cannot be written.
    """
    clients = deployment.settings.clients
    client = min(set(range(len(clients) + 1)) - set(clients))
    return _with_client(deployment, client), client


def revoke_client(deployment: Deployment, client: int) -> Deployment:
    """Let the SuperLink refuse a client from now on, and put its keys away; returns the deployment without it.

    Raises:
        ConfigError: there is no such client, or no other.
        DeploymentError: the SuperLink does not answer: nothing is changed then.
    """
    deployment.require_client(client)
    if deployment.settings.clients == (client,):
        raise ConfigError("CLIENT", client, "a client that is not the last one; `fedkd deploy renew` gives it new keys")
    return _without(deployment, client)


def renew_client(deployment: Deployment, client: int) -> Deployment:
    """Give a client new keys under its old number, where it was; its old ones are refused from now on. Its policy, its
    count of rounds and its audit log stay as they are. `start` registers the new keys.

    Raises:
        ConfigError: there is no such client, or it makes its keys itself.
        DeploymentError: the SuperLink does not answer: nothing is changed then.
    """
    deployment.require_client(client)
    if client in deployment.settings.own_keys:
        raise ConfigError("CLIENT", client, "a client whose keys were made here; `fedkd deploy hand-over --keys …`")
    unregister(deployment, client)
    put_away_keys(deployment, client)
    make_site(deployment, client)
    return _written(deployment)


def hand_over(deployment: Deployment, client: int, keys: Path | None = None) -> Deployment:
    """Note that a client runs on a host of its own from now on, so that none is started here. The state that it had
    here is put away, for no state may be in two places: it begins with an empty one there.

    Args:
        deployment: its deployment.
        client: its number.
        keys: folder with the public halves of keys that the site has made itself (`fedkd client keys`); those that were
            made here are refused and removed then. `start` registers the new one.

    Raises:
        ConfigError: there is no such client, or a key is none.
        DeploymentError: the SuperLink does not answer: nothing is changed then.
    """
    deployment.require_client(client)
    settings = deployment.settings
    elsewhere = tuple(sorted({*settings.elsewhere, client}))
    if keys is None:
        _leave(deployment, client)
        return _written(deployment.changed(elsewhere=elsewhere))
    node, identity = read_public_node_key(keys), read_public_identity(keys)
    unregister(deployment, client)
    _leave(deployment, client)
    own = deployment.site(client) / "keys"
    made_here = [own / name for name in (NODE_KEY, NODE_PUBLIC, IDENTITY, IDENTITY_PUBLIC)]
    for path in (*made_here, identity_path(deployment.identities, client)):
        with naming_failures("remove", path):
            path.unlink(missing_ok=True)
    write_once(own / NODE_PUBLIC, node)
    write_once(own / IDENTITY_PUBLIC, identity.hex().encode() + b"\n")
    own_keys = tuple(sorted({*settings.own_keys, client}))
    return _written(deployment.changed(elsewhere=elsewhere, own_keys=own_keys))


def _leave(deployment: Deployment, client: int) -> None:
    """Put the state of a client away that has run here; of one elsewhere, it is not here."""
    if client in deployment.clients_here:
        put_away_state(deployment, client)


def _with_client(deployment: Deployment, client: int) -> Deployment:
    settings = deployment.settings
    changed = deployment.changed(
        clients=tuple(sorted((*settings.clients, client))), num_clients=max(settings.num_clients, client + 1)
    )
    make_site(changed, client)
    give_data(changed)
    return _written(changed)


def _without(deployment: Deployment, client: int) -> Deployment:
    unregister(deployment, client)
    put_away(deployment, client)
    settings = deployment.settings
    kept = {
        name: tuple(each for each in getattr(settings, name) if each != client)
        for name in ("clients", "elsewhere", "own_keys")
    }
    return _written(deployment.changed(**kept))


def _written(deployment: Deployment) -> Deployment:
    deployment.write_settings()
    write_engine_files(deployment)
    hand_out(deployment)
    return deployment
