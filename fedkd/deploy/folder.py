"""The folder of a deployment: where everything lies, and what was chosen when it was made.

    deployment.toml      the settings below
    .env                 the same for the engine
    compose.clients.yaml the client services
    ca/                  the authority's certificate and key: stays with the operator
    server/keys/         certificates and keys of SuperLink and gateway
    server/state/        the SuperLink's database
    server/roster/       the roster, for the server app
    identities/          roster of the clients' public keys
    operator/            Flower's configuration for this deployment; node ids of registered clients
    client-K/            all that the site of client K is handed: SITE.toml, keys/, compose.yaml, state/
    data/                client-K/private, client-K/public, server/public, server/test
    runs/                run folders

Private files have mode 0600, folders 0700, and belong to the user that the containers run as.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, ValidationError

from fedkd.config.errors import read_toml
from fedkd.errors import ConfigError
from fedkd.storage.files import first_problem, to_toml, write_atomically
from fedkd.types import Section

SETTINGS = "deployment.toml"


class DeploymentSettings(Section):
    """What was chosen when the deployment was made."""

    project: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="the engine's name for all of it")
    host: str = Field(min_length=1, description="name or address by which clients reach the server")
    port: int = Field(9092, ge=1, le=65535, description="port on which clients reach the server")
    control_port: int = Field(9093, ge=1, le=65535, description="port, on loopback only, for the operator")
    num_clients: int = Field(ge=1, description="clients.number of experiments; a revoked client's number stays free")
    clients: tuple[int, ...] = Field(strict=False, description="clients with valid keys, all below num_clients")
    elsewhere: tuple[int, ...] = Field((), strict=False, description="those of them on hosts of their own")
    own_keys: tuple[int, ...] = Field((), strict=False, description="those that keep their private keys to themselves")
    image: str = Field("fedkd", min_length=1, description="the image of all services")
    data: str = Field(description="folder with a folder for every client and one for the server; absolute")
    compose: str = Field(description="compose.yaml of the server; absolute")
    uid: int = Field(ge=1, description="user that the containers run as, and that owns the files")
    gid: int = Field(ge=1, description="its group")


@dataclass(frozen=True)
class Deployment:
    """A deployment on disk.

    Args:
        folder: its folder, absolute.
        settings: what `deployment.toml` holds.
    """

    folder: Path
    settings: DeploymentSettings

    @property
    def authority(self) -> Path:
        """Folder of the authority that signs certificates."""
        return self.folder / "ca"

    @property
    def server_keys(self) -> Path:
        """Folder of the server's certificates and keys."""
        return self.folder / "server" / "keys"

    @property
    def identities(self) -> Path:
        """Folder of the identities for secure aggregation; the roster of public ones is beside them."""
        return self.folder / "identities"

    @property
    def operator(self) -> Path:
        """What Flower's command line takes for its home."""
        return self.folder / "operator"

    @property
    def runs(self) -> Path:
        """Where the server app makes run folders."""
        return self.folder / "runs"

    @property
    def data(self) -> Path:
        """Where data lie."""
        return Path(self.settings.data)

    def site(self, client: int) -> Path:
        """What the site of a client is handed."""
        return self.folder / f"client-{client}"

    @property
    def clients_here(self) -> tuple[int, ...]:
        """Clients that run on this host."""
        return tuple(client for client in self.settings.clients if client not in self.settings.elsewhere)

    def changed(self, **settings: object) -> Deployment:
        """The same deployment with other settings; nothing is written."""
        return Deployment(self.folder, self.settings.model_copy(update=settings))

    def write_settings(self) -> None:
        """Write `deployment.toml`.

        Raises:
            RunFolderError: it cannot be written.
        """
        write_atomically(self.folder / SETTINGS, to_toml(self.settings.model_dump()).encode())

    def require_client(self, client: int) -> None:
        """Refuse a client that this deployment does not have.

        Raises:
            ConfigError: it has no such client.
        """
        if client not in self.settings.clients:
            known = ", ".join(map(str, self.settings.clients)) or "none"
            raise ConfigError("CLIENT", client, f"one of the deployment's clients: {known}")


def open_deployment(folder: Path) -> Deployment:
    """Read a deployment that was made before.

    Raises:
        ConfigError: the folder holds none, or its settings are not allowed.
    """
    if not (folder / SETTINGS).is_file():
        raise ConfigError("DIR", str(folder), f"a folder that `fedkd deploy init` has made ({SETTINGS} is missing)")
    return Deployment(folder.absolute(), parse_settings(read_toml(folder / SETTINGS, "DIR")))


def parse_settings(values: dict[str, object]) -> DeploymentSettings:
    """Validate settings.

    Raises:
        ConfigError: one is missing, unknown or not allowed.
    """
    try:
        return DeploymentSettings.model_validate(values)
    except ValidationError as cause:
        key = ".".join(str(part) for part in cause.errors(include_url=False)[0]["loc"]) or SETTINGS
        raise ConfigError(key, values.get(key), first_problem(cause)) from cause
