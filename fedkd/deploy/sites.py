"""What the site of one client is handed: SITE.toml, its keys, and the engine's file for a host of its own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from fedkd.deploy.certificates import make_node_key
from fedkd.deploy.folder import Deployment
from fedkd.deploy.private_files import give_to, make_private_folder, write_once
from fedkd.deploy.site_keys import IDENTITY, read_public_identity
from fedkd.errors import ConfigError
from fedkd.federation.secure.identities import ROSTER, identity_path, make_identity, write_roster
from fedkd.storage.files import naming_failures, read_bytes, write_atomically

_SITE = """\
# Client {client} of the federation at {host}. Paths are those of the container.

client = {client}
num_clients = {num_clients}
superlink = "{host}:{port}"
root_certificates = "keys/ca.crt"
node_key = "keys/node.key"
private = "/data/private"
public = "/data/public"
state = "/state"
identity = "keys/identity.pem"
roster = "keys/roster.json"

[policy]
"""

SITE_COMPOSE = "compose.prod.example"
"""Beside the server's compose.yaml; copied to every site."""

_NUM_CLIENTS = re.compile(rb"(?m)^num_clients\s*=\s*\d+")


def make_site(deployment: Deployment, client: int) -> None:
    """Make a client's folder and whatever of it is missing; `SITE.toml` and keys that are there stay as they are, and
    a client that keeps its private keys to itself is made none. `hand_out` completes it.

    Raises:
        ConfigError: a key that is there cannot be read.
        RunFolderError: something cannot be written.
    """
    settings, site = deployment.settings, deployment.site(client)
    keys = make_private_folder(site / "keys")
    make_private_folder(site / "state")
    for part in ("private", "public"):
        make_private_folder(deployment.data / f"client-{client}" / part)
    if client not in settings.own_keys:
        make_node_key(keys)
        make_private_folder(deployment.identities)
        make_identity(identity_path(deployment.identities, client))
        write_once(keys / IDENTITY, read_bytes(identity_path(deployment.identities, client)))
    text = _SITE.format(client=client, num_clients=settings.num_clients, host=settings.host, port=settings.port)
    write_once(site / "SITE.toml", text.encode())
    write_once(site / "compose.yaml", read_bytes(Path(settings.compose).with_name(SITE_COMPOSE)))
    environment = (
        f"FEDKD_IMAGE={settings.image}\nFEDKD_UID={settings.uid}\nFEDKD_GID={settings.gid}\nFEDKD_DATA=./data\n"
    )
    write_once(site / ".env", environment.encode())


def hand_out(deployment: Deployment) -> None:
    """Give every site what all of them share, as it is now: the authority's certificate, the roster of identities, and
    the number of clients. The server app gets the roster, too.

    Raises:
        ConfigError: a `SITE.toml` has no line for the number of clients, or a key cannot be read.
        RunFolderError: a file cannot be written.
    """
    settings, own_keys = deployment.settings, deployment.settings.own_keys
    roster = {
        client: read_public_identity(deployment.site(client) / "keys")
        if client in own_keys
        else make_identity(identity_path(deployment.identities, client))
        for client in settings.clients
    }
    write_roster(deployment.identities / ROSTER, roster)
    server = make_private_folder(deployment.folder / "server" / "roster")
    _copy(deployment.identities / ROSTER, server / ROSTER)
    give_to(server, settings.uid, settings.gid)
    for client in settings.clients:
        site = deployment.site(client)
        _copy(deployment.authority / "ca.crt", site / "keys" / "ca.crt")
        _copy(deployment.identities / ROSTER, site / "keys" / ROSTER)
        _count_clients(site / "SITE.toml", settings.num_clients)
        give_to(site, settings.uid, settings.gid)


def put_away(deployment: Deployment, client: int) -> None:
    """Move what a client was handed, and its identity, to `revoked/`, where no name is taken twice.

    Raises:
        RunFolderError: it cannot be moved.
    """
    target = _free_place(deployment, client)
    _move(deployment.site(client), target)
    _move(identity_path(deployment.identities, client), target / IDENTITY)


def put_away_keys(deployment: Deployment, client: int) -> None:
    """Move a client's keys and its identity to `revoked/`; its policy, its state and its audit log stay.

    Raises:
        RunFolderError: they cannot be moved.
    """
    target = make_private_folder(_free_place(deployment, client))
    _move(deployment.site(client) / "keys", target / "keys")
    _move(identity_path(deployment.identities, client), target / IDENTITY)


def put_away_state(deployment: Deployment, client: int) -> None:
    """Move a client's state to `revoked/`; an empty folder takes its place.

    Raises:
        RunFolderError: it cannot be moved.
    """
    state = deployment.site(client) / "state"
    _move(state, make_private_folder(_free_place(deployment, client)) / "state")
    make_private_folder(state)


def _free_place(deployment: Deployment, client: int) -> Path:
    revoked = make_private_folder(deployment.folder / "revoked")
    return revoked / f"client-{client}-{sum(1 for _ in revoked.glob(f'client-{client}-*'))}"


def _move(source: Path, target: Path) -> None:
    with naming_failures("move", source):
        if source.exists():
            shutil.move(source, target)


def _copy(source: Path, target: Path) -> None:
    write_atomically(target, read_bytes(source))
    with naming_failures("write", target):
        target.chmod(0o600)


def _count_clients(path: Path, number: int) -> None:
    text, found = _NUM_CLIENTS.subn(f"num_clients = {number}".encode(), read_bytes(path))
    if not found:
        raise ConfigError("num_clients", str(path), "a SITE.toml with the line `num_clients = …`")
    write_atomically(path, text)
    with naming_failures("write", path):
        path.chmod(0o600)
