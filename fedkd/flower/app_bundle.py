"""The app bundle of a deployment: a manifest without code.

The manifest names components of the fedkd that is installed where they run. The bundle therefore depends on the version
of fedkd alone, and every installation of that version can compute its hash.

The use of `build_fab_from_files` can go when Flower builds a bundle by a public function.
"""

from __future__ import annotations

import hashlib
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import tomli_w

from fedkd._version import __version__
from fedkd.errors import RunFolderError

_MANIFEST = "pyproject.toml"

EXPERIMENT_KEY = "experiment"
"""Key of Flower's run config that holds the resolved configuration as JSON."""

RESUMED_KEY = "resumed"
"""Key of Flower's run config that holds the ids of the runs that this run continues, oldest first, separated by
commas; empty for a new run.
"""


def app_manifest(server_app: str = "fedkd.flower_app:app", **run_config: str | bool) -> dict[str, Any]:
    """Return the manifest of an app without code; `run_config` has the keys that a run may set besides the
    experiment, with their defaults.
    """
    return {
        "project": {"name": "fedkd", "version": __version__, "description": "fedkd", "license": "Apache-2.0"},
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "fedkd",
                    "components": {"serverapp": server_app, "clientapp": "fedkd.engines.absence:app"},
                    "config": {EXPERIMENT_KEY: "", **run_config},
                }
            }
        },
    }


def write_app(folder: Path) -> None:
    """Write the app that a deployment runs into a folder, for `flwr run FOLDER`.

    Raises:
        RunFolderError: the disk refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _MANIFEST).write_text(_deployed_manifest(), encoding="utf-8")
    except OSError as cause:
        raise RunFolderError(f"cannot write {folder / _MANIFEST}: {cause.strerror}") from cause


@cache
def bundle() -> bytes:
    """Return the bundle that `flwr run` makes of this app, byte for byte."""
    from flwr.cli.build import build_fab_from_files  # brings Flower's command line with it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Flower's, of pathspec
        return build_fab_from_files({_MANIFEST: _deployed_manifest().encode()})[0]


def _deployed_manifest() -> str:
    return tomli_w.dumps(app_manifest(**{RESUMED_KEY: ""}))


def bundle_hash(content: bytes | None = None) -> str:
    """Return the SHA-256 of a bundle in hex; by default of the bundle of this installation."""
    return hashlib.sha256(bundle() if content is None else content).hexdigest()
