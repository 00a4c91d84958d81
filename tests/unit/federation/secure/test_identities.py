"""Identities in files: made once, read with every fault named."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from fedkd.errors import ConfigError, RunFolderError
from fedkd.federation.secure.identities import ROSTER, identity_path, make_identities, read_credentials, read_roster


def test_what_is_made_can_be_read_and_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "identities"
    roster = make_identities(folder, range(3))
    assert read_roster(folder / ROSTER) == roster
    for client in range(3):
        path = identity_path(folder, client)
        credentials = read_credentials(path, folder / ROSTER, client)
        independent = load_pem_private_key(path.read_bytes(), password=None).public_key().public_bytes_raw()
        assert credentials.roster[client] == independent == roster[client]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_key_that_is_there_stays(tmp_path: Path) -> None:
    first = make_identities(tmp_path, [0, 1])
    second = make_identities(tmp_path, [1, 2])
    assert {client: second[client] for client in (0, 1)} == first
    assert set(second) == {0, 1, 2}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "a roster as JSON"),
        ("[]", "public keys in hex by client"),
        ('{"a": "00"}', "public keys in hex by client"),
        ('{"0": 5}', "public keys in hex by client"),
        ('{"0": "0011"}', "of 32 bytes"),
    ],
)
def test_a_broken_roster_is_named(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / ROSTER).write_text(content)
    with pytest.raises(ConfigError, match=said) as refused:
        read_roster(tmp_path / ROSTER)
    assert str(tmp_path / ROSTER) in str(refused.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    make_identities(tmp_path, [0])
    with pytest.raises(ConfigError, match=r"client-1\.pem.*No such file"):
        read_credentials(identity_path(tmp_path, 1), tmp_path / ROSTER, 1)
    with pytest.raises(ConfigError, match=r"other\.json.*No such file"):
        read_credentials(identity_path(tmp_path, 0), tmp_path / "other.json", 0)
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot make"):
        make_identities(tmp_path / "file" / "identities", [0])


def test_another_clients_key_is_refused(tmp_path: Path) -> None:
    make_identities(tmp_path, [0, 1])
    with pytest.raises(ConfigError, match="the private key of client 1"):
        read_credentials(identity_path(tmp_path, 0), tmp_path / ROSTER, 1)


def test_other_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    path = identity_path(tmp_path, 0)
    key = generate_private_key(SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    (tmp_path / ROSTER).write_text(json.dumps({}))
    with pytest.raises(ConfigError, match="not one of another kind"):
        make_identities(tmp_path, [0])
    path.write_text("no key")
    with pytest.raises(ConfigError, match="an Ed25519 private key as PEM"):
        read_credentials(path, tmp_path / ROSTER, 0)
