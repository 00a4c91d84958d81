"""Long-lived Ed25519 identities in files: what clients under secure aggregation sign with against an active server.

    FOLDER/client-K.pem    a private key (PKCS 8, PEM), for client K alone
    FOLDER/roster.json     {"K": the public key of client K in hex}, for all clients and the server

The roster is what is pinned: it must reach each party on a way that the server does not control.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from fedkd.errors import ConfigError
from fedkd.secure_aggregation import Credentials, new_identity
from fedkd.storage.files import naming_failures, write_atomically

ROSTER = "roster.json"

_PUBLIC_BYTES = 32


def identity_path(folder: Path, client: int) -> Path:
    """Where a client's private key lies."""
    return folder / f"client-{client}.pem"


def make_identities(folder: Path, clients: Iterable[int]) -> dict[int, bytes]:
    """Make the identities that are missing, and write the roster of all; a key that is there is never changed.

    Returns:
        The roster: each client's public key, 32 bytes.

    Raises:
        ConfigError: a key that is there cannot be read.
        RunFolderError: a file cannot be written.
    """
    with naming_failures("make", folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    roster = read_roster(folder / ROSTER) if (folder / ROSTER).exists() else {}
    roster |= {client: make_identity(identity_path(folder, client)) for client in clients}
    write_roster(folder / ROSTER, roster)
    return roster


def make_identity(path: Path) -> bytes:
    """Make a private key, if there is none in this file; returns the public one, 32 bytes.

    Raises:
        ConfigError: a key that is there cannot be read.
        RunFolderError: the file cannot be written.
    """
    if not path.exists():
        _write_private(path, new_identity().private)
    return Ed25519PrivateKey.from_private_bytes(read_identity(path)).public_key().public_bytes_raw()


def write_roster(path: Path, roster: Mapping[int, bytes]) -> None:
    """Write every client's public key.

    Raises:
        RunFolderError: the file cannot be written.
    """
    written = {str(client): public.hex() for client, public in sorted(roster.items())}
    write_atomically(path, json.dumps(written, indent=2).encode() + b"\n")


def read_identity(path: Path) -> bytes:
    """A private key, 32 bytes.

    Raises:
        ConfigError: it cannot be read, or is no Ed25519 key.
    """
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except OSError as cause:
        raise _refused(path, f"a private key that can be read ({cause.strerror})") from cause
    except (ValueError, TypeError, UnsupportedAlgorithm) as cause:
        raise _refused(path, "an Ed25519 private key as PEM, without a password") from cause
    if not isinstance(key, Ed25519PrivateKey):
        raise _refused(path, "an Ed25519 private key as PEM, not one of another kind")
    return key.private_bytes_raw()


def read_roster(path: Path) -> dict[int, bytes]:
    """Every client's public key, 32 bytes.

    Raises:
        ConfigError: it cannot be read, or is no roster.
    """
    try:
        written = json.loads(path.read_bytes())
    except OSError as cause:
        raise _refused(path, f"a roster that can be read ({cause.strerror})") from cause
    except ValueError as cause:
        raise _refused(path, f"a roster as JSON ({cause})") from cause
    try:
        roster = {int(client): bytes.fromhex(public) for client, public in written.items()}
    except (AttributeError, TypeError, ValueError) as cause:
        raise _refused(path, "a roster: public keys in hex by client") from cause
    if any(len(public) != _PUBLIC_BYTES for public in roster.values()):
        raise _refused(path, f"a roster of public keys of {_PUBLIC_BYTES} bytes")
    return roster


def read_credentials(identity: Path, roster: Path, client: int) -> Credentials:
    """A client's own key and everybody's public ones.

    Raises:
        ConfigError: one of them cannot be read, or the roster has another public key for this client.
    """
    private, pinned = read_identity(identity), read_roster(roster)
    public = Ed25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()
    if pinned.get(client) != public:
        raise _refused(identity, f"the private key of client {client} in {roster}")
    return Credentials(private, pinned)


def _write_private(path: Path, private: bytes) -> None:
    key = Ed25519PrivateKey.from_private_bytes(private)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with (
        naming_failures("write", path),
        os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
    ):
        file.write(pem)


def _refused(path: Path, allowed: str) -> ConfigError:
    return ConfigError("secure_aggregation.identities", str(path), allowed)
