"""A container engine, and the image of docker/Dockerfile, on a Debian with root and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

PROJECT = Path(__file__).parents[2]
IMAGE, BASE_IMAGE = "fedkd", "python:3.11-slim-bookworm"
PACKAGES = ("docker.io", "docker-compose", "debootstrap", "iptables")
PROGRAMS = ("docker", "dockerd", "docker-compose", "debootstrap", "iptables")
TORCH = "torch==2.13.0+cpu"
"""Wheels for CPUs alone come from an index or a folder that pip has been told of."""


def sh(*command: str, check: bool = True, timeout: float = 600.0, **options: object) -> str:
    """Run a program; its output, or an error that shows it."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, **options
    )
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def wait_for(what: str, holds: Callable[[], bool], seconds: float = 180.0) -> None:
    """Look twice a second until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.5)


def engine_answers() -> bool:
    return not subprocess.run(["docker", "info"], capture_output=True, check=False).returncode


def install() -> None:
    if not all(map(shutil.which, PROGRAMS)):
        sh("apt-get", "update", "-qq")
        sh("apt-get", "install", "-qq", "--yes", "--no-install-recommends", *PACKAGES)


@contextmanager
def running_engine(folder: Path) -> Iterator[str]:
    """An engine with all that it keeps in a folder, which goes with it; yields where it listens. It ends with us."""
    socket = f"unix://{folder}/socket"
    command = ["setpriv", "--pdeathsig", "TERM", "dockerd", f"--host={socket}", f"--data-root={folder}/data"]
    command += [f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
    had_bridge = Path("/sys/class/net/docker0").exists()
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield socket
        finally:
            process.terminate()
            process.wait(120)
    if not had_bridge and shutil.which("ip"):
        sh("ip", "link", "delete", "docker0", check=False)
    shutil.rmtree(folder, ignore_errors=True)


def make_base_image(folder: Path) -> None:
    """A Debian with Python, under the name of the image that the Dockerfile starts from; nothing is pulled."""
    packages = "--include=python3,python3-venv,ca-certificates,nginx-light"
    sh("debootstrap", "--variant=minbase", packages, "bookworm", f"{folder}/base")
    archive = f"tar -C {folder}/base -c . | docker import - {BASE_IMAGE}"
    sh("sh", "-c", f"rm -rf {folder}/base/var/cache/apt/archives/*.deb {folder}/base/var/lib/apt/lists/*; {archive}")
    shutil.rmtree(folder / "base")


def fetch_wheels(context: Path) -> None:
    """Fetch what the image installs to where its build looks."""
    fetch = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(context / "docker" / "wheels"))
    sh(*fetch, "--requirement", str(context / "docker" / "requirements.txt"), TORCH, "setuptools>=77")


def build_image(folder: Path) -> None:
    """Build docker/Dockerfile from a clone of this project, offline, from wheels that are fetched before."""
    context = folder / "context"
    sh("git", "clone", "--quiet", f"file://{PROJECT}", str(context))
    with ThreadPoolExecutor() as both:
        wheels = both.submit(fetch_wheels, context)
        if BASE_IMAGE not in sh("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").split():
            make_base_image(folder)
        wheels.result()
    build = ("--network=none", "--build-arg=PIP_OPTIONS=--no-index", f"--file={context}/docker/Dockerfile")
    environment = os.environ | {"DOCKER_BUILDKIT": "0"}
    sh("docker", "build", *build, f"--tag={IMAGE}", str(context), timeout=900, env=environment)
    shutil.rmtree(context)
