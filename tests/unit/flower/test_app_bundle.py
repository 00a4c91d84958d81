"""The bundle that `flwr run .` sends holds the package and the default experiment, and nothing else of the project."""

from __future__ import annotations

import tomllib
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.build import build_fab_from_disk
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

import fedkd
from fedkd.types import import_from_path

PROJECT = Path(__file__).parents[3]

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")  # Flower's, of pathspec


@pytest.fixture(scope="module")
def bundle() -> bytes:
    return build_fab_from_disk(PROJECT)


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_bundle_holds_what_is_needed_alone(bundle: bytes) -> None:
    with zipfile.ZipFile(BytesIO(bundle)) as archive:
        names = set(archive.namelist())
    package = {path.relative_to(PROJECT).as_posix() for path in (PROJECT / "fedkd").rglob("*.py")}
    package = {name for name in package if not name.startswith(("fedkd/study/", "fedkd/deploy/", "fedkd/cli/"))}
    assert names == package | {"simulations/digits.toml", "pyproject.toml", ".info/CONTENT"}


def test_the_bundle_is_small(bundle: bytes) -> None:
    assert len(bundle) < 2_000_000  # Flower takes 10 MB


def test_flower_reads_the_version_of_the_package(manifest: dict[str, Any]) -> None:
    assert manifest["project"]["version"] == fedkd.__version__


@pytest.mark.parametrize(("component", "kind"), [("serverapp", ServerApp), ("clientapp", ClientApp)])
def test_the_components_are_apps(component: str, kind: type, manifest: dict[str, Any]) -> None:
    path = manifest["tool"]["flwr"]["app"]["components"][component]
    assert isinstance(import_from_path(path, RuntimeError), kind)
