"""A site's public halves are those of its private keys, whatever became of the files."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from fedkd.deploy import make_site_keys
from fedkd.deploy.site_keys import read_public_identity, read_public_node_key
from fedkd.errors import ConfigError
from fedkd.federation.secure.identities import read_credentials, write_roster

PRIVATE, PUBLIC = ("node.key", "identity.pem"), ("node.pub", "identity.pub")


def require_fitting(keys: Path) -> None:
    private = load_ssh_private_key((keys / "node.key").read_bytes(), password=None)
    assert private.public_key() == load_ssh_public_key(read_public_node_key(keys))
    write_roster(keys / "roster.json", {0: read_public_identity(keys)})
    read_credentials(keys / "identity.pem", keys / "roster.json", 0)  # refuses a roster with another public key


def test_public_halves_that_are_missing_are_made_from_the_private_ones(tmp_path: Path) -> None:
    make_site_keys(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for name in PUBLIC:
        (tmp_path / name).unlink()
    make_site_keys(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_public_halves_of_keys_that_were_replaced_are_made_anew(tmp_path: Path) -> None:
    keys, others = tmp_path / "keys", tmp_path / "others"
    make_site_keys(keys)
    make_site_keys(others)
    for name in PRIVATE:
        shutil.copy(others / name, keys / name)
    make_site_keys(keys)
    assert all((keys / name).read_bytes() == (others / name).read_bytes() for name in (*PRIVATE, *PUBLIC))


def test_private_keys_that_were_deleted_are_rotated(tmp_path: Path) -> None:
    make_site_keys(tmp_path)
    before = [(tmp_path / name).read_bytes() for name in (*PRIVATE, *PUBLIC)]
    for name in PRIVATE:
        (tmp_path / name).unlink()
    make_site_keys(tmp_path)
    after = [(tmp_path / name).read_bytes() for name in (*PRIVATE, *PUBLIC)]
    assert not set(before) & set(after)
    require_fitting(tmp_path)


@pytest.mark.parametrize("kind", ["nonsense", "another algorithm"])
def test_a_node_key_that_is_none_is_named(kind: str, tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (tmp_path / "node.key").write_bytes(b"none" if kind == "nonsense" else other)
    with pytest.raises(ConfigError, match=r"node\.key = '.*' is not allowed: an elliptic-curve private key"):
        make_site_keys(tmp_path)
