"""Who is refused, by whom, and where it is said."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedkd.config import load_config
from fedkd.deploy.certificates import make_authority, make_node_key
from fedkd.deploy.operator import run_log, run_status, submit
from fedkd.deploy.private_files import give_to
from fedkd.deploy.running import deployed_config
from fedkd.federation.bundle import EXPERIMENT_KEY, write_app
from fedkd.reporting.files import to_toml

pytestmark = pytest.mark.system

UNMASKED = ("clients.deadline=20.0", "clients.min_train_nodes=2", "run.rounds=1")
PACKAGE = "/opt/fedkd/lib/python3.11/site-packages/fedkd"


@pytest.fixture
def stranger(federation, tmp_path: Path) -> Callable[..., str]:
    """Run a client with changed keys, beside the real client 0, until it ends; returns what it says."""

    def run(change: Callable[[Path], None]) -> str:
        site = tmp_path / "site"
        shutil.copytree(federation.deployment.site(0), site)
        shutil.rmtree(site / "state")
        change(site / "keys")
        settings = federation.deployment.settings
        give_to(tmp_path, settings.uid, settings.gid)
        command = ["docker", "run", "--rm", f"--network={settings.project}_client-0", "--tmpfs=/state:mode=1777"]
        command += [f"--volume={site}:/site:ro", f"--volume={settings.data}/client-0:/data:ro"]
        command += [
            f"--user={settings.uid}",
            settings.image,
            "timeout",
            "60",
            "fedkd",
            "client",
            "run",
            "/site/SITE.toml",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode != 0
        return " ".join((done.stdout + done.stderr).split())

    return run


def test_a_node_with_an_unregistered_key(stranger) -> None:
    def change(keys: Path) -> None:
        (keys / "node.key").unlink()
        make_node_key(keys)

    assert "Failed to initialize the connection to the SuperLink" in stranger(change)


def test_a_client_with_another_authority(stranger) -> None:
    def change(keys: Path) -> None:
        make_authority(keys / "other")
        shutil.move(keys / "other" / "ca.crt", keys / "ca.crt")

    said = stranger(change)
    assert "error:" in said
    assert "certificate" in said.lower()


def in_client(federation, sh, code: str) -> str:
    return sh("docker", "exec", federation.container("client-0"), "python", "-c", code, check=False)


def test_plain_http(federation, sh) -> None:
    ask = "import urllib.request as u; u.urlopen('http://server.test:9092/v1/fleet/pull-messages', b'', 5)"
    assert "HTTP Error 400" in in_client(federation, sh, ask)


@pytest.mark.parametrize(
    "path", ["control/start-run", "runtime/acquire-task", "fleet/../control/list-nodes", "fleet/..%2fx"]
)
def test_a_client_reaches_no_api_but_its_own(federation, sh, path: str) -> None:
    ask = (
        "import http.client, ssl; c = http.client.HTTPSConnection('server.test', 9092, "
        "context=ssl.create_default_context(cafile='/site/keys/ca.crt')); "
        f"c.request('POST', '/v1/{path}', b''); print(c.getresponse().status)"
    )
    assert in_client(federation, sh, ask).strip() == "403"


def test_a_client_does_not_reach_another_nor_the_superlink(federation, sh) -> None:
    addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    for service in ("client-1", "superlink", "server-app"):
        for address in sh("docker", "inspect", "--format", addresses, federation.container(service)).split():
            ask = f"import socket; socket.create_connection(('{address}', 9091), 3)"
            said = in_client(federation, sh, ask)
            assert "timed out" in said or "unreachable" in said, said
        assert "gaierror" in in_client(federation, sh, f"import socket; socket.gethostbyname('{service}')")


def test_a_public_set_of_its_own(federation, sh) -> None:
    public = federation.deployment.data / "client-1" / "public" / "images.npz"
    kept = public.read_bytes()
    shutil.copyfile(federation.deployment.data / "client-1" / "private" / "images.npz", public)
    try:
        sh("docker", "restart", federation.container("client-1"))
        federation.all_online()
        printed, code = federation.run("other-public", *UNMASKED)
        assert code == 0, printed
        assert "refused client 1: the client's public set has digest" in printed
        assert federation.record("other-public").history[0].replied == (0, 2)
    finally:
        public.write_bytes(kept)
        sh("docker", "restart", federation.container("client-1"))
        federation.all_online()


def test_an_empty_data_folder_is_named_before_anybody_trains(federation, sh, wait_for) -> None:
    private = federation.deployment.data / "client-2" / "private"
    aside = private.with_name("aside")
    private.rename(aside)
    private.mkdir()
    give_to(private, federation.deployment.settings.uid, federation.deployment.settings.gid)
    try:
        sh("docker", "restart", federation.container("client-2"))
        wait_for("the problem", lambda: "/data/private" in federation.status()[0], 120)
        said, code = federation.status()
        assert code == 1
        assert "client 2 is offline: " in " ".join(said.split())
    finally:
        private.rmdir()
        aside.rename(private)
        sh("docker", "restart", federation.container("client-2"))
        federation.all_online()


def test_a_tampered_bundle(federation, tmp_path: Path) -> None:
    app, run_config = tmp_path / "app", tmp_path / "run.toml"
    write_app(app)
    (app / "stolen.py").write_text("print('never runs')\n")
    loaded = load_config(federation.experiment, ["run.name=tampered", *UNMASKED])
    config = deployed_config(federation.deployment, loaded, datetime.now(UTC))
    run_config.write_text(to_toml({EXPERIMENT_KEY: config.model_dump_json()}))
    run_id = submit(federation.deployment, app, run_config)
    log = " ".join(run_log(federation.deployment, run_id))
    assert run_status(federation.deployment, run_id) == "finished:failed"
    assert "the app's bundle has SHA-256" in log
    for client in range(3):
        assert f'"run": "{run_id}"' in federation.audit(client)
        assert "the app's bundle has SHA-256" in federation.audit(client).splitlines()[-1]


def test_another_version_of_fedkd(federation, sh, tmp_path: Path) -> None:
    version = federation.deployment.folder / "other_version.py"
    version.write_text('"""Another."""\n\n__version__ = "9.9.9"\n')
    version.chmod(0o644)
    settings = federation.deployment.settings
    override = federation.deployment.folder / "compose.other.yaml"
    override.write_text(f'services:\n  client-1:\n    volumes: ["{version}:{PACKAGE}/_version.py:ro"]\n')
    environment = (federation.deployment.folder / ".env").read_text()
    files = next(line for line in environment.splitlines() if line.startswith("COMPOSE_FILE=")).split("=")[1].split(":")
    change = [word for file in files for word in ("-f", file)]
    up = ("up", "--detach", "--no-deps", "client-1")
    folder = federation.deployment.folder
    assert settings.clients == (0, 1, 2)
    try:
        sh("docker-compose", *change, "-f", str(override), "--project-directory", str(folder), *up, cwd=folder)
        federation.all_online()
        printed, code = federation.run("other-version", *UNMASKED)
        assert code == 0, printed
        assert "is another version of fedkd at the server" in printed
        assert federation.record("other-version").history[0].replied == (0, 2)
    finally:
        sh("docker-compose", *up, cwd=folder)
        federation.all_online()
