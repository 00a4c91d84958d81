"""One federation of real containers for all system tests: an engine, the image, a deployment with three clients.

It needs root and Debian, and skips elsewhere. FEDKD_TEST_IMAGE names an image that is there already and saves building
it; an engine that is running is used, else one is started in a temporary folder and stopped at the end.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fedkd.deploy import initialise, start
from fedkd.deploy.private_files import IMAGE_USER, give_to

HERE = Path(__file__).parent
HOST = "server.test"
CLIENTS = 3
DATA = (
    f"clients.number={CLIENTS}",
    "data.train_size=600",
    "data.test_size=797",
    "data.partition.kind=iid",
    "run.rounds=3",
    "run.baselines=false",
)
"""Clients that know every class give a student that has settled after three rounds, and all digits that are left test
it, so that the rounding of masked answers moves its score by a digit or two of 797. Where classes are dealt unevenly,
rounding moves it by six.
"""


def beside(name: str) -> ModuleType:
    """Import a module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"system_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


engines, trials = beside("engine"), beside("trial")


@pytest.fixture(name="sh", scope="session")
def _sh() -> Callable[..., str]:
    return engines.sh


@pytest.fixture(name="wait_for", scope="session")
def _wait_for() -> Callable[..., None]:
    return engines.wait_for


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A container engine that answers."""
    if os.geteuid() != 0 or not Path("/etc/debian_version").is_file():
        pytest.skip("containers are tested as root on Debian only")
    engines.install()
    if engines.engine_answers():
        yield
        return
    with (
        engines.running_engine(tmp_path_factory.mktemp("engine")) as socket,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("DOCKER_HOST", socket)
        engines.wait_for("the engine", engines.engine_answers)
        yield


@pytest.fixture(scope="session")
def image(engine: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of docker/Dockerfile, on a base image that is made here where none can be pulled."""
    if named := os.environ.get("FEDKD_TEST_IMAGE"):
        return named
    engines.build_image(tmp_path_factory.mktemp("image"))
    return engines.IMAGE


@pytest.fixture(scope="session")
def trial(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """A federation that is up: slices of real digits, TLS, authenticated nodes."""
    folder = tmp_path_factory.mktemp("fedkd-trial")
    changes = [word for change in DATA for word in ("--set", change)]
    digits = str(engines.PROJECT / "simulations" / "digits.toml")
    engines.sh(*trials.FEDKD, "data", digits, *changes, "--export", str(folder / "data"))
    deployment = initialise(folder, CLIENTS, HOST, image=image, compose=engines.PROJECT / "docker" / "compose.yaml")
    made = trials.Trial(folder, folder / "data" / "experiment.toml", engines.sh, engines.wait_for)
    try:
        start(deployment)
        made.wait_until_online(CLIENTS)
        yield made
    finally:
        made.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")


@pytest.fixture
def federation(trial):
    """The same, for a test that finds all three clients online and leaves them so."""
    yield trial
    trial.wait_until_online(CLIENTS)


@pytest.fixture
def simulate_in_image(trial, sh, tmp_path: Path) -> Iterator[Callable[..., Future[dict[str, Any]]]]:
    """Simulates the trial's experiment inside the image, while the federation runs; what that printed."""
    folder = tmp_path / "trial"
    with ThreadPoolExecutor(max_workers=1) as beside_the_test:

        def simulate(*overrides: str) -> dict[str, Any]:
            sh("cp", "-r", str(trial.folder / "data"), str(folder))
            sh("cp", str(HERE / "simulate_trial.py"), str(folder))
            give_to(tmp_path, IMAGE_USER, IMAGE_USER)
            command = ["docker", "run", "--rm", "--network=none", f"--user={IMAGE_USER}"]
            command += [f"--volume={folder}:/trial:ro", trial.deployment.settings.image]
            command += ["python", "/trial/simulate_trial.py", "/trial", *overrides]
            return json.loads(sh(*command).splitlines()[-1])

        yield lambda *overrides: beside_the_test.submit(simulate, *overrides)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add the logs of all containers to the report of a case that fails."""
    report = yield
    found = getattr(item, "funcargs", {}).get("trial") or getattr(item, "funcargs", {}).get("federation")
    if report.failed and found is not None:
        report.sections.append(("containers", found.compose("logs", "--no-color", "--tail=80")))
    return report
