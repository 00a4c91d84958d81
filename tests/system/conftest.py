"""One federation of real containers for all system tests: an engine, the image, a deployment with three clients.

It needs root and Debian, and skips elsewhere. FEDKD_TEST_IMAGE names an image that is there already and saves building
it; an engine that is running is used, else one is started in a temporary folder and stopped at the end.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedkd.deploy import Deployment, initialise, open_deployment, start
from fedkd.experiment import read_run
from fedkd.records import RunRecord

PROJECT = Path(__file__).parents[2]
IMAGE, BASE_IMAGE = "fedkd", "python:3.11-slim-bookworm"
HOST = "server.test"
PACKAGES = ("docker.io", "docker-compose", "debootstrap")
CLIENTS = 3


def sh(*command: str, check: bool = True, timeout: float = 600.0, **options: object) -> str:
    """Run a program; its output, or an error that shows it."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, **options
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 90.0) -> None:
    """Look twice a second until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.5)


@pytest.fixture(name="sh", scope="session")
def _sh() -> Callable[..., str]:
    return sh


@pytest.fixture(name="wait_for", scope="session")
def _wait_for() -> Callable[..., None]:
    return wait_for


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A container engine that answers."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").is_file():
        pytest.skip("containers are tested as root on Debian only")
    if not all(map(shutil.which, ("docker", "dockerd", "docker-compose", "debootstrap"))):
        sh("apt-get", "update", "-qq")
        sh("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *PACKAGES)
    if not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode:
        yield
        return
    folder = tmp_path_factory.mktemp("engine")
    socket = f"unix://{folder}/socket"
    command = ["dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    with (folder / "log").open("wb") as log, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOCKER_HOST", socket)
        with subprocess.Popen([*command, f"--host={socket}"], stdout=log, stderr=log) as process:
            try:
                wait_for("the engine", lambda: not subprocess.run(["docker", "info"], capture_output=True).returncode)
                yield
            finally:
                process.terminate()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def image(engine: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of docker/Dockerfile, on a base image that is made here where none can be pulled."""
    if named := os.environ.get("FEDKD_TEST_IMAGE"):
        return named
    folder = tmp_path_factory.mktemp("image")
    if BASE_IMAGE not in sh("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").split():
        packages = "--include=python3,python3-venv,ca-certificates,nginx-light"
        sh("debootstrap", "--variant=minbase", packages, "bookworm", f"{folder}/base")
        archive = f"tar -C {folder}/base -c . | docker import - {BASE_IMAGE}"
        sh("sh", "-c", f"rm -rf {folder}/base/var/cache/apt/archives/*.deb; {archive}")
        shutil.rmtree(folder / "base")
    context = folder / "context"
    sh("git", "clone", "--quiet", "--no-hardlinks", f"file://{PROJECT}", str(context))
    wheels = context / "docker" / "wheels"
    requirements = str(context / "docker" / "requirements.txt")
    sh(sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels), "--no-deps", "torch==2.13.0")
    find = ("--find-links", str(wheels), "--dest", str(wheels))
    sh(
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        *find,
        "--requirement",
        requirements,
        "torch==2.13.0",
        "setuptools",
    )
    build = ("--network=none", "--build-arg=PIP_OPTIONS=--no-index", f"--file={context}/docker/Dockerfile")
    sh(
        "docker",
        "build",
        *build,
        f"--tag={IMAGE}",
        str(context),
        timeout=900,
        env=os.environ | {"DOCKER_BUILDKIT": "0"},
    )
    return IMAGE


class Federation:
    """The deployment under test."""

    def __init__(self, deployment: Deployment, experiment: Path) -> None:
        self.deployment, self.experiment = deployment, experiment

    def fedkd(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from fedkd.cli import main; main()", *arguments]

    def run_in_background(self, name: str, *overrides: str) -> subprocess.Popen[str]:
        changes = [word for change in (f"run.name={name}", *overrides) for word in ("--set", change)]
        command = self.fedkd("deploy", "run", str(self.deployment.folder), str(self.experiment), *changes)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def run(self, name: str, *overrides: str) -> tuple[str, int]:
        """Run an experiment; what was printed, and the exit code."""
        process = self.run_in_background(name, *overrides)
        printed, _ = process.communicate(timeout=300)
        return printed, process.returncode

    def record(self, name: str) -> RunRecord:
        return read_run(self.deployment.runs / name)[1]

    def rounds_done(self, name: str) -> int:
        path = self.deployment.runs / name / "rounds.jsonl"
        return len(path.read_text().splitlines()) if path.is_file() else 0

    def container(self, service: str) -> str:
        labels = (f"project={self.deployment.settings.project}", f"service={service}")
        filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
        return sh("docker", "ps", "--all", "--quiet", *filters).strip()

    def logs(self, service: str, since: str = "0") -> str:
        return sh("docker", "logs", "--since", since, self.container(service))

    def status(self) -> tuple[str, int]:
        done = subprocess.run(
            self.fedkd("deploy", "status", str(self.deployment.folder)), capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr, done.returncode

    def all_online(self) -> None:
        wait_for("all clients online", lambda: self.status()[1] == 0, 180.0)

    def audit(self, client: int) -> str:
        return (self.deployment.site(client) / "state" / "audit.jsonl").read_text()


@pytest.fixture(scope="session")
def trial_config() -> list[str]:
    """What the data of the trial are: overrides of simulations/digits.toml."""
    return [f"clients.number={CLIENTS}", "run.rounds=3", "run.bounds=false", "data.train_size=600"]


@pytest.fixture(scope="session")
def federation(image: str, trial_config: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation that is up: slices of real digits, TLS, authenticated nodes."""
    folder = tmp_path_factory.mktemp("fedkd-trial")
    changes = [word for change in trial_config for word in ("--set", change)]
    fedkd = [sys.executable, "-c", "from fedkd.cli import main; main()"]
    sh(*fedkd, "data", str(PROJECT / "simulations/digits.toml"), *changes, "--export", str(folder / "data"))
    deployment = initialise(folder, CLIENTS, HOST, image=image, compose=PROJECT / "docker/compose.yaml")
    try:
        start(deployment)
        made = Federation(open_deployment(folder), folder / "data" / "experiment.toml")
        made.all_online()
        yield made
    finally:
        sh("docker-compose", "down", "--volumes", "--timeout", "5", cwd=folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add the logs of all containers to the report of a case that fails."""
    report = yield
    if report.failed and "federation" in getattr(item, "funcargs", {}):
        folder = item.funcargs["federation"].deployment.folder
        report.sections.append(("containers", sh("docker-compose", "logs", "--no-color", "--tail=80", cwd=folder)))
    return report
