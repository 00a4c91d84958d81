"""SITE.toml: which client this is, where its keys and data are, and its policy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from fedkd.config.errors import config_error, read_toml
from fedkd.types import Section

_PATHS = ("root_certificates", "node_key", "private", "public", "state", "identity", "roster")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class PolicyConfig(Section):
    """The policy of a site: what the client refuses, whatever the server asks for."""

    require_secure_aggregation: bool = Field(False, description="answer only if the server sees nothing but a sum")
    trust: Literal["curious", "active"] = Field(
        "curious",
        description="the kind of server that secure aggregation must at least resist; active needs an identity",
    )
    minimum_cohort: int = Field(
        0, ge=0, description="answer only in a sum over at least this many clients; 0: no limit"
    )
    maximum_queries_per_round: int = Field(
        0, ge=0, description="most public samples that are answered in a round; 0: no limit"
    )
    maximum_rounds: int = Field(0, ge=0, description="most rounds in the lifetime of the state folder; 0: no limit")
    public_digest: Sha256 | None = Field(
        None, description="SHA-256 that the public set of this site must have; unset: any"
    )
    allowed_bundles: tuple[Sha256, ...] = Field(
        (), strict=False, description="SHA-256 of allowed bundles, besides the bundle of this installation"
    )
    allow_weights: bool = Field(False, description="also take part in methods that send the weights of the model")
    allow_class_statistics: bool = Field(
        False, description="also take part in methods that send statistics of the private samples of each class"
    )


class SiteConfig(Section):
    """One client. Paths are absolute once `load_site` has read them."""

    client: int = Field(ge=0, description="partition id of this client")
    num_clients: int = Field(ge=1, description="clients of the federation")
    superlink: str = Field(pattern=r"^[^\s/]+:\d{1,5}$", description="host:port of the SuperLink")
    root_certificates: str | None = Field(
        None, description="PEM file of the authority that signed the SuperLink's certificate"
    )
    node_key: str | None = Field(None, description="EC private key of this client; the SuperLink knows its public key")
    insecure: bool = Field(False, description="no TLS and no key, for tests on the loopback interface")
    private: str = Field(description="own samples: a folder of class folders, or an npz file")
    public: str = Field(description="the public set: a folder of images, or an npz file")
    state: str = Field(description="folder for the model, the state of secure aggregation and the audit log")
    image_size: int | None = Field(None, ge=1, description="height and width to resize all images to")
    identity: str | None = Field(None, description="Ed25519 key for secure aggregation against an active server")
    roster: str | None = Field(None, description="JSON file of all clients' public identities")
    policy: PolicyConfig = PolicyConfig()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.client >= self.num_clients:
            raise ValueError(f"client = {self.client}; at most num_clients - 1, which is {self.num_clients - 1}")
        keys = (self.root_certificates, self.node_key)
        if self.insecure:
            if any(keys) or self.superlink.rpartition(":")[0] not in _LOOPBACK:
                raise ValueError(
                    "insecure = true; allowed without root_certificates and node_key, to a SuperLink on loopback "
                    f"({', '.join(_LOOPBACK)}) only"
                )
        elif not all(keys):
            raise ValueError("root_certificates and node_key are both needed, as insecure is false")
        if (self.identity is None) != (self.roster is None):
            raise ValueError("identity and roster go together")
        if self.policy.trust == "active" and self.identity is None:
            raise ValueError('policy.trust = "active" needs identity and roster')
        return self

    @property
    def state_path(self) -> Path:
        """The state folder."""
        return Path(self.state)


def load_site(path: Path) -> SiteConfig:
    """Read SITE.toml; relative paths start from its folder.

    Raises:
        ConfigError: the file cannot be read, an unknown key, or a value that is not allowed.
    """
    values: dict[str, Any] = read_toml(path, "SITE")
    folder = path.absolute().parent
    for key in _PATHS:
        if isinstance(values.get(key), str):
            values[key] = str(folder / values[key])
    policy = values.get("policy")
    if isinstance(policy, dict) and policy.get("public_digest") == "":
        del policy["public_digest"]
    try:
        return SiteConfig.model_validate(values)
    except ValidationError as cause:
        raise config_error(cause, SiteConfig) from cause
