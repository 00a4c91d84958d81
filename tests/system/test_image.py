"""What the image is made of, and how its containers are confined."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.system

LIMIT = 1_300_000_000


def test_it_is_small_and_runs_as_a_user(image: str, sh) -> None:
    (about,) = json.loads(sh("docker", "inspect", image))
    assert about["Size"] <= LIMIT
    assert about["Config"]["User"] == "fedkd"


@pytest.mark.parametrize("program", ["pip", "pip3", "gcc", "uv", "git", "curl"])
def test_it_has_no_tools_to_build_or_fetch(image: str, sh, program: str) -> None:
    found = sh("docker", "run", "--rm", image, "sh", "-c", f"command -v {program} || echo none").strip()
    assert found == "none"


def test_no_secret_lies_in_a_layer_or_the_environment(trial, image: str, sh) -> None:
    history = sh("docker", "history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    described = sh("docker", "inspect", image)
    services = ("superlink", "gateway", "server-app", "client-0", "client-1", "client-2")
    described += "".join(sh("docker", "inspect", trial.container(service)) for service in services)
    keys = [*trial.deployment.folder.rglob("*.key"), *trial.deployment.folder.rglob("*.secret")]
    keys += trial.deployment.folder.rglob("*.pem")
    assert len(keys) >= 10
    for path in keys:
        for line in path.read_text().splitlines():
            if "-----" not in line:
                assert line not in history + described
    command = r"find / -xdev \( -name '*.key' -o -name '*.secret' -o -name 'id_*' -o -name 'pip.conf' \) 2>/dev/null"
    assert sh("docker", "run", "--rm", image, "sh", "-c", f"{command} || true").split() == []


def test_containers_are_confined(trial, sh) -> None:
    for service in ("superlink", "gateway", "server-app", "client-0"):
        (about,) = json.loads(sh("docker", "inspect", trial.container(service)))
        host = about["HostConfig"]
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["Memory"] > 0
        assert about["Config"]["User"].split(":")[0] == str(trial.deployment.settings.uid)
