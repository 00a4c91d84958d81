"""The folder of a deployment: made once, completed, never overwritten; keys that fit; clients come and go."""

from __future__ import annotations

import re
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from typer.testing import CliRunner

from fedkd.cli.main import app
from fedkd.deploy import (
    Deployment,
    add_client,
    hand_over,
    initialise,
    make_site_keys,
    open_deployment,
    renew_client,
    renew_server,
    revoke_client,
)
from fedkd.deploy import operator as flower
from fedkd.errors import ConfigError
from fedkd.federation.secure.identities import read_credentials, read_roster
from fedkd.site.settings import load_site

COMPOSE = Path(__file__).parents[3] / "docker" / "compose.yaml"


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return initialise(tmp_path / "fed", 2, "server.example", compose=COMPOSE)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_command_changes_nothing(deployment: Deployment) -> None:
    before = content(deployment.folder)
    again = initialise(deployment.folder, 2, "server.example", compose=COMPOSE)
    assert again.settings == deployment.settings
    assert content(deployment.folder) == before


def test_what_is_missing_is_made_and_the_rest_stays(deployment: Deployment) -> None:
    before = content(deployment.folder)
    (deployment.folder / "server" / "keys" / "gateway.crt").unlink()
    initialise(deployment.folder, 2, "server.example", compose=COMPOSE)
    after = content(deployment.folder)
    assert {name for name in before if before[name] != after[name]} == {"server/keys/gateway.crt"}


def test_other_arguments_are_refused(deployment: Deployment) -> None:
    with pytest.raises(ConfigError, match=r"--host = 'other\.example' is not allowed: 'server\.example'"):
        initialise(deployment.folder, 2, "other.example", compose=COMPOSE)


def test_nobody_else_reads_a_key(deployment: Deployment) -> None:
    private = [path for path in deployment.folder.rglob("*") if re.search(r"\.(key|pem|secret)$|\.env$", path.name)]
    assert len(private) >= 11
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    folders = {path.parent for path in private} | {deployment.folder}
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_the_authority_vouches_for_the_gateway_under_its_name_alone(deployment: Deployment) -> None:
    authority = x509.load_pem_x509_certificate((deployment.authority / "ca.crt").read_bytes())
    gateway = x509.load_pem_x509_certificate((deployment.server_keys / "gateway.crt").read_bytes())
    builder = PolicyBuilder().store(Store([authority])).time(datetime.now(UTC).replace(tzinfo=None))
    assert builder.build_server_verifier(x509.DNSName("server.example")).verify(gateway, [])
    with pytest.raises(VerificationError):
        builder.build_server_verifier(x509.DNSName("other.example")).verify(gateway, [])


def test_a_client_is_handed_keys_that_fit(deployment: Deployment) -> None:
    for client in (0, 1):
        keys = deployment.site(client) / "keys"
        private = load_ssh_private_key((keys / "node.key").read_bytes(), password=None)
        public = load_ssh_public_key((keys / "node.pub").read_bytes())
        assert private.public_key() == public
        assert isinstance(private.curve, SECP384R1)
        credentials = read_credentials(keys / "identity.pem", keys / "roster.json", client)
        assert set(credentials.roster) == {0, 1}
        site = load_site(deployment.site(client) / "SITE.toml")
        assert (site.client, site.num_clients, site.superlink) == (client, 2, "server.example:9092")


def test_each_client_has_a_network_of_its_own(deployment: Deployment) -> None:
    text = (deployment.folder / "compose.clients.yaml").read_text()
    for client in (0, 1):
        assert f"client-{client}: {{internal: true}}" in text
        assert f"    networks: [client-{client}]\n" in text


def test_a_client_more_is_in_everybodys_roster(deployment: Deployment) -> None:
    changed, client = add_client(deployment)
    assert client == 2
    for each in range(3):
        keys = changed.site(each) / "keys"
        assert set(read_credentials(keys / "identity.pem", keys / "roster.json", each).roster) == {0, 1, 2}
        assert load_site(changed.site(each) / "SITE.toml").num_clients == 3
    assert open_deployment(deployment.folder).settings.clients == (0, 1, 2)


def test_a_revoked_clients_keys_are_put_away_and_refused(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def answer(_: Deployment, *arguments: str) -> dict[str, object]:
        asked.append(arguments)
        return {"nodes": [{"node-id": "17", "status": "online"}]}

    monkeypatch.setattr(flower, "_asked", answer)
    (deployment.operator / "registered.json").write_text('{"0": "5", "1": "17"}')
    identity = (deployment.site(1) / "keys" / "identity.pem").read_bytes()
    renewed = renew_client(deployment, 1)
    assert ("supernode", "unregister", "17", "fedkd") in asked
    assert flower.node_ids(renewed) == {0: "5"}
    assert (deployment.folder / "revoked" / "client-1-0" / "keys" / "identity.pem").read_bytes() == identity
    assert (renewed.site(1) / "keys" / "identity.pem").read_bytes() != identity
    left = revoke_client(renewed, 0)
    keys = left.site(1) / "keys"
    assert set(read_credentials(keys / "identity.pem", keys / "roster.json", 1).roster) == {1}
    with pytest.raises(ConfigError, match="one of the deployment's clients: 1"):
        revoke_client(left, 0)


def test_a_client_with_new_keys_keeps_its_policy_its_count_and_its_audit_log(
    deployment: Deployment, unasked: list[tuple[str, ...]]
) -> None:
    site = deployment.site(1)
    with (site / "SITE.toml").open("a") as file:
        file.write("maximum_rounds = 7\n")
    (site / ".env").write_text("FEDKD_DATA=/elsewhere\n")
    (site / "state" / "usage.json").write_text('{"rounds": 6}')
    (site / "state" / "audit.jsonl").write_text("{}\n")
    before = content(site)
    renew_client(deployment, 1)
    after = content(site)
    assert load_site(site / "SITE.toml").policy.maximum_rounds == 7
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {f"keys/{name}" for name in ("node.key", "node.pub", "identity.pem", "roster.json")}
    put_away = content(deployment.folder / "revoked" / "client-1-0")
    assert put_away["keys/node.key"] == before["keys/node.key"]
    assert put_away["identity.pem"] == before["keys/identity.pem"]


def test_a_renewed_server_keeps_its_authority(deployment: Deployment) -> None:
    before = content(deployment.folder)
    renew_server(deployment)
    after = content(deployment.folder)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if name.startswith("server/keys/")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "absent"], "a folder that `fedkd deploy init` has made"),
        (["init", "fed", "--clients", "2", "--host", "h", "--compose", "absent.yaml"], "absent.yaml is missing"),
    ],
)
def test_the_command_says_what_is_wrong_in_a_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["deploy", *arguments])
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.fixture
def unasked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """A SuperLink that says nothing of interest; what it was asked."""
    asked: list[tuple[str, ...]] = []

    def answer(_: Deployment, *arguments: str) -> dict[str, object]:
        asked.append(arguments)
        return {}

    monkeypatch.setattr(flower, "_asked", answer)
    return asked


def test_a_revoked_clients_number_stays_free_and_the_others_keep_theirs(
    tmp_path: Path, unasked: list[tuple[str, ...]]
) -> None:
    deployment = revoke_client(initialise(tmp_path / "fed", 3, "server.example", compose=COMPOSE), 1)
    assert deployment.settings.clients == (0, 2)
    for client in (0, 2):
        keys = deployment.site(client) / "keys"
        assert load_site(deployment.site(client) / "SITE.toml").num_clients == 3
        assert set(read_credentials(keys / "identity.pem", keys / "roster.json", client).roster) == {0, 2}
    assert set(read_roster(deployment.folder / "server" / "roster" / "roster.json")) == {0, 2}
    text = (deployment.folder / "compose.clients.yaml").read_text()
    assert "client-1" not in text
    assert renew_client(deployment, 2).settings.clients == (0, 2)
    changed, client = add_client(deployment)
    assert client == 1
    assert changed.settings.num_clients == 3


def test_the_last_client_is_not_revoked(tmp_path: Path, unasked: list[tuple[str, ...]]) -> None:
    deployment = initialise(tmp_path / "fed", 1, "server.example", compose=COMPOSE)
    with pytest.raises(ConfigError, match="CLIENT = 0 is not allowed: a client that is not the last one"):
        revoke_client(deployment, 0)


def test_a_site_keeps_the_keys_that_it_made(
    deployment: Deployment, tmp_path: Path, unasked: list[tuple[str, ...]]
) -> None:
    made, sent = tmp_path / "made", tmp_path / "sent"
    make_site_keys(made)
    before = content(made)
    make_site_keys(made)
    assert content(made) == before
    sent.mkdir()
    for name in ("node.pub", "identity.pub"):
        (sent / name).write_bytes(before[name])
    changed = hand_over(deployment, 1, sent)
    keys = changed.site(1) / "keys"
    assert sorted(path.name for path in keys.iterdir()) == ["ca.crt", "identity.pub", "node.pub", "roster.json"]
    assert not (changed.identities / "client-1.pem").exists()
    assert "client-1" not in (changed.folder / "compose.clients.yaml").read_text()
    assert set(read_credentials(made / "identity.pem", keys / "roster.json", 1).roster) == {0, 1}
    again = initialise(deployment.folder, 2, "server.example", compose=COMPOSE)
    assert not (again.site(1) / "keys" / "node.key").exists()
    with pytest.raises(ConfigError, match="a client whose keys were made here"):
        renew_client(changed, 1)


def test_a_client_elsewhere_is_not_started_here_and_stays_elsewhere(
    deployment: Deployment, unasked: list[tuple[str, ...]]
) -> None:
    changed = hand_over(deployment, 0)
    assert changed.clients_here == (1,)
    assert f"COMPOSE_FILE={COMPOSE}:{changed.folder}/compose.clients.yaml\n" in (changed.folder / ".env").read_text()
    assert renew_client(changed, 0).clients_here == (1,)
    assert "client-0" not in (changed.folder / "compose.clients.yaml").read_text()


def test_a_client_that_moves_leaves_its_state_behind(deployment: Deployment, unasked: list[tuple[str, ...]]) -> None:
    state = deployment.site(0) / "state"
    (state / "usage.json").write_text('{"rounds": 6}')
    changed = hand_over(deployment, 0)
    assert not list(state.iterdir())
    assert content(deployment.folder / "revoked") == {"client-0-0/state/usage.json": b'{"rounds": 6}'}
    hand_over(changed, 0)
    assert len(list((deployment.folder / "revoked").iterdir())) == 1


def test_the_engine_reads_no_file_of_clients_where_none_runs_here(
    deployment: Deployment, unasked: list[tuple[str, ...]]
) -> None:
    changed = hand_over(hand_over(deployment, 0), 1)
    assert f"COMPOSE_FILE={COMPOSE}\n" in (changed.folder / ".env").read_text()
    added, _ = add_client(changed)
    assert "/compose.clients.yaml\n" in (added.folder / ".env").read_text()


@pytest.mark.parametrize(
    ("name", "said"), [("node.pub", "an elliptic-curve public key"), ("identity.pub", "32 bytes in hex")]
)
def test_what_is_no_public_key_is_refused(
    name: str, said: str, deployment: Deployment, tmp_path: Path, unasked: list[tuple[str, ...]]
) -> None:
    make_site_keys(tmp_path / "made")
    (tmp_path / "made" / name).write_text("none")
    before = content(deployment.folder)
    with pytest.raises(ConfigError, match=said):
        hand_over(deployment, 1, tmp_path / "made")
    assert content(deployment.folder) == before
