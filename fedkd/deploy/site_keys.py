"""The keys of one site, made where they stay; its public halves are what the operator of a deployment needs.

node.key, node.pub          by which Flower's SuperLink knows the site
identity.pem, identity.pub  by which the other clients know it under secure aggregation; the public one in hex
"""

from __future__ import annotations

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from fedkd.deploy.certificates import make_node_key
from fedkd.deploy.private_files import make_private_folder, write_if_other
from fedkd.errors import ConfigError
from fedkd.federation.secure.identities import make_identity
from fedkd.storage.files import read_bytes

NODE_KEY, NODE_PUBLIC = "node.key", "node.pub"
IDENTITY, IDENTITY_PUBLIC = "identity.pem", "identity.pub"

_PUBLIC_BYTES = 32


def make_site_keys(folder: Path) -> None:
    """Make what is missing of the four files; a private key that is there stays, and the public halves follow from the
    private ones.

    Raises:
        ConfigError: a key that is there cannot be read.
        RunFolderError: something cannot be written.
    """
    make_private_folder(folder)
    make_node_key(folder)
    public = make_identity(folder / IDENTITY)
    write_if_other(folder / IDENTITY_PUBLIC, public.hex().encode() + b"\n")


def read_public_identity(folder: Path) -> bytes:
    """The public identity in a folder, 32 bytes.

    Raises:
        ConfigError: it is none.
        RunFolderError: it cannot be read.
    """
    path = folder / IDENTITY_PUBLIC
    try:
        public = bytes.fromhex(read_bytes(path).decode("ascii"))
    except ValueError:
        public = b""
    if len(public) != _PUBLIC_BYTES:
        raise ConfigError("--keys", str(path), f"a public identity: {_PUBLIC_BYTES} bytes in hex")
    return public


def read_public_node_key(folder: Path) -> bytes:
    """The public node key in a folder, as OpenSSH writes it.

    Raises:
        ConfigError: it is none, or not elliptic.
        RunFolderError: it cannot be read.
    """
    path = folder / NODE_PUBLIC
    content = read_bytes(path)
    try:
        key = load_ssh_public_key(content)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise ConfigError("--keys", str(path), "an elliptic-curve public key in OpenSSH's format")
    return content
