"""Make a deployment's folder, or complete it: what is there stays as it is."""

from __future__ import annotations

from pathlib import Path

from fedkd.deploy.certificates import make_authority, make_certificate, make_secret
from fedkd.deploy.engine_files import write_engine_files
from fedkd.deploy.folder import SETTINGS, Deployment, DeploymentSettings, open_deployment, parse_settings
from fedkd.deploy.operator import write_connection
from fedkd.deploy.private_files import give_to, make_private_folder, owner_of_files
from fedkd.deploy.sites import SITE_COMPOSE, hand_out, make_site
from fedkd.errors import ConfigError
from fedkd.storage.files import naming_failures

SUPERLINK = "superlink.internal"
"""The SuperLink's name among the services of the server."""


def initialise(
    folder: Path,
    clients: int,
    host: str,
    *,
    data: Path | None = None,
    image: str = "fedkd",
    compose: Path = Path("docker/compose.yaml"),
    port: int = 9092,
    control_port: int = 9093,
) -> Deployment:
    """Make a deployment, or complete one that was made with the same arguments.

    Args:
        folder: where; also the name of the engine's project.
        clients: how many, numbered from 0.
        host: name or address by which clients reach this machine; the gateway's certificate is for it.
        data: folder with `client-K/` and `server/`, as `fedkd data --export` writes it; `folder/data` by default.
        image: of all services.
        compose: the server's services; `docker/compose.yaml` of the project.
        port: on which clients reach this machine.
        control_port: on loopback, for the operator.

    Raises:
        ConfigError: a value is not allowed, or the folder holds a deployment with others.
        RunFolderError: something cannot be written.
    """
    folder = folder.absolute()
    uid, gid = owner_of_files()
    wanted = parse_settings(
        {
            "project": _project_name(folder),
            "host": host,
            "port": port,
            "control_port": control_port,
            "num_clients": clients,
            "clients": tuple(range(clients)),
            "image": image,
            "data": str((data or folder / "data").absolute()),
            "compose": str(compose.absolute()),
            "uid": uid,
            "gid": gid,
        }
    )
    for needed in (compose, compose.with_name(SITE_COMPOSE)):
        if not needed.is_file():
            raise ConfigError("--compose", str(compose), f"the project's docker/compose.yaml ({needed} is missing)")
    deployment = _known(folder, wanted) if (folder / SETTINGS).is_file() else Deployment(folder, wanted)
    _complete(deployment)
    return deployment


def renew_server(deployment: Deployment) -> None:
    """Make new keys and certificates for SuperLink and gateway, and a new secret for the server app; the authority
    stays, so that clients need nothing new.

    Raises:
        RunFolderError: something cannot be written.
    """
    with naming_failures("remove", deployment.server_keys):
        for path in deployment.server_keys.iterdir():
            path.unlink()
    _complete(deployment)


def _complete(deployment: Deployment) -> None:
    settings = deployment.settings
    for path in (deployment.folder, deployment.runs, deployment.folder / "server" / "state", deployment.operator):
        make_private_folder(path)
    for part in ("public", "test"):
        make_private_folder(deployment.data / "server" / part)
    deployment.write_settings()
    make_authority(deployment.authority)
    keys = deployment.server_keys
    make_certificate(deployment.authority, keys, "superlink", [SUPERLINK, "localhost", "127.0.0.1"])
    make_certificate(deployment.authority, keys, "gateway", [settings.host, "localhost"])
    make_secret(keys / "superexec.secret")
    for client in settings.clients:
        make_site(deployment, client)
    hand_out(deployment)
    write_connection(deployment)
    write_engine_files(deployment)
    for path in (deployment.runs, deployment.folder / "server", deployment.authority / "ca.crt"):
        give_to(path, settings.uid, settings.gid)
    give_data(deployment)


def give_data(deployment: Deployment) -> None:
    """Let the containers' user own the data, if they lie in the deployment's folder; others' data stay theirs.

    Raises:
        RunFolderError: the system refuses.
    """
    if deployment.data.is_relative_to(deployment.folder):
        give_to(deployment.data, deployment.settings.uid, deployment.settings.gid)


def _known(folder: Path, wanted: DeploymentSettings) -> Deployment:
    """The deployment that is there, if it was made with the same settings; clients may have come and gone since."""
    found = open_deployment(folder)
    for key in ("host", "port", "control_port", "image", "data", "compose"):
        before, now = getattr(found.settings, key), getattr(wanted, key)
        if before != now:
            raise ConfigError(f"--{key.replace('_', '-')}", now, f"{before!r}, with which {folder} was made")
    return found


def _project_name(folder: Path) -> str:
    kept = "".join(char if char.isalnum() and char.isascii() else "-" for char in folder.name.lower())
    return kept.strip("-") or "fedkd"
