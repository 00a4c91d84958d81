"""Who is refused, by whom, and where it is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedkd.config.experiment import load_config
from fedkd.deploy.operator import run_log, run_status, submit
from fedkd.deploy.private_files import give_to
from fedkd.deploy.running import deployed_config
from fedkd.flower.app_bundle import EXPERIMENT_KEY, write_app
from fedkd.storage.files import to_toml

pytestmark = pytest.mark.system

PACKAGE = "/opt/fedkd/lib/python3.11/site-packages/fedkd"
CHECK = ("fedkd", "client", "check", "/site/SITE.toml")


def in_client(trial, sh, *command: str) -> str:
    return sh("docker", "exec", trial.container("client-0"), *command, check=False)


def test_a_client_that_lacks_nothing(trial, sh) -> None:
    said = sh("docker", "exec", trial.container("client-0"), *CHECK)
    assert "failed" not in said
    for what in ("private samples: ", "public set: ", "node key: ", "identity and roster: ", "bundle: ", "policy."):
        assert f"ok     {what}" in said
    assert "server.test:9092 answers, TLSv1.3, certificate verified" in said


def test_plain_http(trial, sh) -> None:
    ask = "import urllib.request as u; u.urlopen('http://server.test:9092/v1/fleet/pull-messages', b'', 5)"
    assert "HTTP Error 400" in in_client(trial, sh, "python", "-c", ask)


@pytest.mark.parametrize(
    "path", ["control/start-run", "runtime/acquire-task", "fleet/../control/list-nodes", "fleet/..%2fx"]
)
def test_a_client_reaches_no_api_but_its_own(trial, sh, path: str) -> None:
    ask = (
        "import http.client, ssl; c = http.client.HTTPSConnection('server.test', 9092, "
        "context=ssl.create_default_context(cafile='/site/keys/ca.crt')); "
        f"c.request('POST', '/v1/{path}', b''); print(c.getresponse().status)"
    )
    assert in_client(trial, sh, "python", "-c", ask).strip() == "403"


def test_a_client_does_not_reach_another_nor_the_superlink(trial, sh) -> None:
    services = ("client-1", "superlink", "server-app")
    addresses = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}"
    found = sh("docker", "inspect", "--format", addresses, *map(trial.container, services)).split()
    assert len(found) >= len(services)
    knock = (
        "import socket, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def knock(host):\n"
        "    try:\n"
        "        socket.create_connection((host, 9091), 3).close()\n"
        "        return 'reached'\n"
        "    except OSError as error:\n"
        "        return type(error).__name__ + str(error)\n"
        "with ThreadPoolExecutor(len(sys.argv)) as at_once: print(*at_once.map(knock, sys.argv[1:]), sep='\\n')"
    )
    said = in_client(trial, sh, "python", "-c", knock, *found, *services).splitlines()
    assert len(said) == len(found) + len(services), said
    assert all("timed out" in line or "unreachable" in line for line in said[: len(found)]), said
    assert all(line.startswith("gaierror") for line in said[len(found) :]), said


def test_a_tampered_bundle(trial, tmp_path: Path) -> None:
    app, run_config = tmp_path / "app", tmp_path / "run.toml"
    write_app(app)
    (app / "stolen.py").write_text("print('never runs')\n")
    loaded = load_config(trial.experiment, ["run.name=tampered", "run.rounds=1"])
    config = deployed_config(trial.deployment, loaded, datetime.now(UTC))
    run_config.write_text(to_toml({EXPERIMENT_KEY: config.model_dump_json()}))
    run_id = submit(trial.deployment, app, run_config)
    log = " ".join(run_log(trial.deployment, run_id))
    assert run_status(trial.deployment, run_id) == "finished:failed"
    assert "the app's bundle has SHA-256" in log
    for client in range(3):
        last = trial.audit(client)[-1]
        assert f'"run": "{run_id}"' in last
        assert "the app's bundle has SHA-256" in last


def test_an_empty_data_folder_is_named_before_anybody_trains(federation, sh, wait_for) -> None:
    private = federation.deployment.data / "client-2" / "private"
    aside = private.with_name("aside")
    private.rename(aside)
    private.mkdir()
    give_to(private, federation.deployment.settings.uid, federation.deployment.settings.gid)
    try:
        sh("docker", "restart", federation.container("client-2"))
        wait_for("the problem", lambda: "/data/private" in federation.problems())
        assert "client 2 is offline: " in federation.problems()
    finally:
        private.rmdir()
        aside.rename(private)
        sh("docker", "restart", federation.container("client-2"))


@pytest.fixture(scope="module")
def said_of_strangers(trial, sh, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What a run says in which client 1 holds another public set and client 2 runs another version of fedkd."""
    public = trial.deployment.data / "client-1" / "public" / "images.npz"
    kept = public.read_bytes()
    shutil.copyfile(trial.deployment.data / "client-1" / "private" / "images.npz", public)
    version = tmp_path_factory.mktemp("version") / "other_version.py"
    version.write_text('"""Another."""\n\n__version__ = "9.9.9"\n')
    override = trial.folder / "compose.other.yaml"
    override.write_text(f'services:\n  client-2:\n    volumes: ["{version}:{PACKAGE}/_version.py:ro"]\n')
    for folder in (version.parent, version.parent.parent):
        folder.chmod(0o755)
    files = [word for name in (*compose_files(trial.folder), str(override)) for word in ("-f", name)]
    try:
        sh("docker", "restart", trial.container("client-1"))
        up = ("--project-directory", str(trial.folder), "up", "--detach", "--no-deps", "client-2")
        trial.compose(*files, *up)
        trial.wait_until_online(3)
        yield trial.run("strangers", "run.rounds=1", "clients.min_train_nodes=1")
    finally:
        public.write_bytes(kept)
        trial.compose("up", "--detach", "--no-deps", "client-2")
        sh("docker", "restart", trial.container("client-1"))
        trial.wait_until_online(3)


def compose_files(folder: Path) -> list[str]:
    lines = (folder / ".env").read_text().splitlines()
    return next(line for line in lines if line.startswith("COMPOSE_FILE=")).partition("=")[2].split(":")


def test_a_public_set_of_its_own(said_of_strangers: str) -> None:
    assert "refused client 1: the client's public set has digest" in said_of_strangers


def test_another_version_of_fedkd(said_of_strangers: str) -> None:
    assert "client 2: PolicyError: allowed_bundles" in said_of_strangers
    assert "is another version of fedkd at the server" in said_of_strangers


def test_neither_of_them_took_part(trial, said_of_strangers: str) -> None:
    assert trial.record("strangers").history[0].replied == (0,), said_of_strangers
