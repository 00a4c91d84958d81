"""Keys that are refused, renewed, revoked and made elsewhere."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fedkd.deploy import add_client, hand_over, make_site_keys, renew_client, revoke_client, start
from fedkd.deploy.certificates import make_authority, make_node_key
from fedkd.deploy.private_files import give_to

pytestmark = pytest.mark.system

REFUSED = "Failed to initialize the connection to the SuperLink"


@pytest.fixture
def stranger(trial, tmp_path: Path) -> Callable[..., str]:
    """Run a client on the network of client 0, from a copy of a site's folder with changed keys, until it ends; what it
    said.
    """

    def run(folder: Path, change: Callable[[Path], None] | None = None) -> str:
        site = tmp_path / "site"
        shutil.copytree(folder, site, ignore=shutil.ignore_patterns("state"))
        if change is not None:
            change(site / "keys")
        settings = trial.deployment.settings
        give_to(tmp_path, settings.uid, settings.gid)
        command = ["docker", "run", "--rm", f"--network={settings.project}_client-0", "--tmpfs=/state:mode=1777"]
        command += [f"--volume={site}:/site:ro", f"--volume={settings.data}/client-0:/data:ro"]
        command += [f"--user={settings.uid}", settings.image, "timeout", "120"]
        command += ["fedkd", "client", "run", "/site/SITE.toml"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode != 0
        return " ".join((done.stdout + done.stderr).split())

    return run


def test_a_node_with_an_unregistered_key(trial, stranger) -> None:
    def change(keys: Path) -> None:
        (keys / "node.key").unlink()
        make_node_key(keys)

    assert REFUSED in stranger(trial.deployment.site(0), change)


def test_a_client_with_another_authority(trial, stranger) -> None:
    def change(keys: Path) -> None:
        make_authority(keys / "other")
        shutil.move(keys / "other" / "ca.crt", keys / "ca.crt")

    said = stranger(trial.deployment.site(0), change)
    assert "error: superlink = 'server.test:9092' is not allowed" in said
    assert "a SuperLink whose certificate root_certificates has signed" in said


def test_a_client_that_is_not_the_last_is_revoked_and_its_number_given_anew(trial, stranger) -> None:
    start(revoke_client(trial.deployment, 1))
    old = trial.folder / "revoked" / "client-1-0"
    assert REFUSED in stranger(old)
    masked = ("secure_aggregation.enabled=true", "secure_aggregation.trust=active")
    fewer = ("secure_aggregation.minimum_cohort=2", "run.rounds=1")
    start(trial.deployment, restart=True)  # so that sites and server app read the new roster
    trial.wait_until_online(2)
    trial.run("without-1", *masked, *fewer)
    assert trial.record("without-1").history[0].replied == (0, 2)
    changed, client = add_client(trial.deployment)
    assert client == 1
    assert start(changed, restart=True) == [1]
    trial.wait_until_online(3)


def test_renewed_keys_serve_and_the_old_ones_are_refused(trial, stranger) -> None:
    """Signing keys, too: the sum is over clients that know each other by the new roster."""
    changed = renew_client(trial.deployment, 0)
    assert start(changed, restart=True) == [0]
    trial.wait_until_online(3)

    def old_keys(keys: Path) -> None:
        shutil.copytree(trial.folder / "revoked" / "client-0-0" / "keys", keys, dirs_exist_ok=True)

    assert REFUSED in stranger(changed.site(0), old_keys)
    trial.run("renewed", "run.rounds=1", "secure_aggregation.enabled=true", "secure_aggregation.trust=active")
    assert trial.record("renewed").history[0].replied == (0, 1, 2)


def test_a_site_on_a_host_of_its_own_with_keys_that_it_made(trial, tmp_path: Path, sh) -> None:
    """Its engine's file is the one that it was handed; another network of this host stands for the other host."""
    made = tmp_path / "keys"
    make_site_keys(made)
    sent = tmp_path / "sent"
    sent.mkdir()
    for name in ("node.pub", "identity.pub"):
        shutil.copy(made / name, sent)
    deployment = hand_over(trial.deployment, 2, sent)
    handed = deployment.site(2)
    assert not (handed / "keys" / "node.key").exists()
    assert not (deployment.identities / "client-2.pem").exists()
    assert start(deployment, restart=True) == [2]
    assert trial.container("client-2") == ""
    assert "client 2 is registered: `fedkd client check` at its site says why" in trial.problems()

    site = tmp_path / "site"
    shutil.copytree(handed, site)
    for name in ("node.key", "identity.pem"):
        shutil.copy(made / name, site / "keys")
    shutil.copytree(deployment.data / "client-2", site / "data")
    (site / "compose.override.yaml").write_text(
        f'services: {{client: {{extra_hosts: ["{deployment.settings.host}:host-gateway"]}}}}\n'
    )
    give_to(tmp_path, deployment.settings.uid, deployment.settings.gid)
    compose = ("docker-compose", "-p", f"{deployment.settings.project}-site")
    try:
        sh(*compose, "-f", "compose.yaml", "-f", "compose.override.yaml", "up", "--detach", cwd=site)
        trial.wait_until_online(3)
        assert trial.problems() == ""
        trial.run("elsewhere", "run.rounds=1", "secure_aggregation.enabled=true", "secure_aggregation.trust=active")
        assert trial.record("elsewhere").history[0].replied == (0, 1, 2)
    except BaseException:
        print(sh(*compose, "logs", cwd=site))
        raise
    finally:
        sh(*compose, "down", "--timeout", "5", cwd=site)
