"""`fedkd client check`: checks everything that a client needs before it runs. Imports no torch."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from fedkd._version import __version__
from fedkd.data.images import public_digest
from fedkd.data.site_files import read_labelled, read_public
from fedkd.errors import ConfigError, DataError, FedkdError
from fedkd.federation.secure.identities import read_credentials
from fedkd.flower.app_bundle import bundle_hash
from fedkd.site.settings import SiteConfig

_TIMEOUT = 10.0
"""Seconds in which the SuperLink must answer."""


@dataclass(frozen=True)
class Finding:
    """One line: what was checked, whether it is right, and what was found."""

    what: str
    ok: bool
    found: str


def check_site(site: SiteConfig) -> Iterator[Finding]:
    """Check everything, one after the other; a failed check does not end the rest."""
    checks: dict[str, Callable[[SiteConfig], str]] = {
        "private samples": _private,
        "public set": _public,
        "state folder": _state,
    }
    if not site.insecure:
        checks |= {"node key": _node_key, "root certificates": _root_certificates}
    if site.identity is not None:
        checks |= {"identity and roster": _identity}
    checks |= {"SuperLink": check_superlink, "versions": _versions, "bundle": lambda _: bundle_hash()}
    for what, check in checks.items():
        try:
            yield Finding(what, True, check(site))
        except FedkdError as problem:
            yield Finding(what, False, str(problem))
    for key, value in site.policy.model_dump(mode="json").items():
        yield Finding(f"policy.{key}", True, str(value))


def _private(site: SiteConfig) -> str:
    found = read_labelled(Path(site.private), site.image_size)
    counts = ", ".join(f"{name}: {count}" for name, count in found.counts().items())
    return f"{len(found.images)} images of {_shape(found.images.images_NCHW.shape)}; {counts}"


def _public(site: SiteConfig) -> str:
    images_NCHW, _ = read_public(Path(site.public), site.image_size)
    digest, pinned = public_digest(images_NCHW), site.policy.public_digest
    if pinned not in (None, digest):
        raise DataError(f"digest {digest}; policy.public_digest says {pinned}")
    return f"{len(images_NCHW)} images of {_shape(images_NCHW.shape)}, digest {digest}" + (
        ", as pinned" if pinned else ""
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape[1:])


def _state(site: SiteConfig) -> str:
    folder = Path(site.state)
    existing = folder if folder.exists() else folder.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError("state", str(folder), "a writable folder, or a path at which one can be made")
    return f"{folder}, " + ("there" if folder.exists() else "to be made")


def _node_key(site: SiteConfig) -> str:
    path = Path(site.node_key or "")
    try:
        key = load_ssh_private_key(_secret("node_key", path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        raise ConfigError("node_key", str(path), "an EC private key in OpenSSH's format, without a password") from cause
    if not isinstance(key, EllipticCurvePrivateKey):
        raise ConfigError("node_key", str(path), "an EC private key, not one of another kind")
    return f"{path}, {key.curve.name}"


def _identity(site: SiteConfig) -> str:
    path = Path(site.identity or "")
    _secret("identity", path)
    credentials = read_credentials(path, Path(site.roster or ""), site.client)
    known = ", ".join(map(str, sorted(credentials.roster)))
    return f"{path}; roster of client {known}, of {site.num_clients}"


def _secret(key: str, path: Path) -> bytes:
    """Read a file that only its owner may read."""
    try:
        content, mode = path.read_bytes(), stat.S_IMODE(path.stat().st_mode)
    except OSError as cause:
        raise ConfigError(key, str(path), f"a file that can be read ({cause.strerror})") from cause
    if mode & 0o077:
        raise ConfigError(key, str(path), f"a file that only its owner may read (chmod 600); its mode is {mode:o}")
    return content


def _root_certificates(site: SiteConfig) -> str:
    path = Path(site.root_certificates or "")
    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as cause:
        raise ConfigError("root_certificates", str(path), f"a file that can be read ({cause.strerror})") from cause
    except ValueError as cause:
        raise ConfigError("root_certificates", str(path), "certificates as PEM") from cause
    last = min(certificate.not_valid_after_utc for certificate in certificates)
    return f"{path}, valid until {last:%Y-%m-%d}"


def check_superlink(site: SiteConfig) -> str:
    """Connect in the same way as the SuperNode; return what was found.

    Raises:
        ConfigError: the SuperLink does not answer, or its certificate is not signed by `root_certificates`.
    """
    host, _, port = site.superlink.rpartition(":")
    host = host.strip("[]")
    try:
        with socket.create_connection((host, int(port)), _TIMEOUT) as connection:
            if site.root_certificates is None:
                return f"{site.superlink} answers, without TLS"
            context = ssl.create_default_context(cafile=site.root_certificates)
            with context.wrap_socket(connection, server_hostname=host) as secured:
                return f"{site.superlink} answers, {secured.version()}, certificate verified"
    except ssl.SSLError as cause:
        words = getattr(cause, "verify_message", "") or cause.reason or "no TLS"
        raise ConfigError(
            "superlink", site.superlink, f"a SuperLink whose certificate root_certificates has signed ({words})"
        ) from cause
    except (OSError, OverflowError) as cause:
        raise ConfigError("superlink", site.superlink, f"a SuperLink that answers ({cause})") from cause


def _versions(site: SiteConfig) -> str:
    del site
    found = f"fedkd {__version__}"
    with suppress(importlib.metadata.PackageNotFoundError):
        found += f", flwr {importlib.metadata.version('flwr')}, torch {importlib.metadata.version('torch')}"
    return found
