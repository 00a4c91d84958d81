"""What the image installs is a part of what the project declares."""

from __future__ import annotations

import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[3]


def test_the_image_installs_nothing_that_the_project_does_not_declare() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    plain = {requirement.replace("[simulation]", "") for requirement in declared}
    lines = (PROJECT / "docker" / "requirements.txt").read_text().splitlines()
    listed = {line for line in lines if not line.startswith("#")}
    assert {"flwr>=1.41,<1.42", "torch>=2.6"} < listed < plain
    assert not any(line.startswith(("ray", "torchvision", "matplotlib")) for line in listed)
