"""The guard ends its server, and all that the server started, however its parent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedkd.engines import process_guard

SERVER = """
import subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
Path(sys.argv[1]).write_text(str(child.pid))
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, start_new_session=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    return pid in process_guard._living()


def wait_for(condition: object, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(0.05)
    return bool(condition())  # type: ignore[operator]


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "pid"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def command(folder: Path, pid_file: Path) -> Iterator[list[str]]:
    yield [sys.executable, process_guard.__file__, str(folder), sys.executable, "-c", SERVER, str(pid_file)]
    if pid_file.is_file() and is_alive(int(pid_file.read_text() or 0)):
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


def started(pid_file: Path) -> int:
    assert wait_for(lambda: pid_file.is_file() and pid_file.read_text())
    return int(pid_file.read_text())


def test_when_its_input_is_closed_everything_ends(command: list[str], folder: Path, pid_file: Path) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        grandchild = started(pid_file)
        assert is_alive(grandchild)
        process.communicate(timeout=30)
    assert process.returncode == 0
    assert not is_alive(grandchild)
    assert not folder.exists()


def test_when_its_parent_is_killed_everything_ends(command: list[str], folder: Path, pid_file: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, *command]) as parent:
        grandchild = started(pid_file)
        parent.kill()
    assert wait_for(lambda: not folder.exists())
    assert not is_alive(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="orphans are adopted on Linux alone")
def test_what_a_dead_server_left_behind_is_ended(command: list[str], folder: Path, pid_file: Path) -> None:
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        grandchild = started(pid_file)
        server = next(
            pid for pid in process_guard.descendants(process.pid) if grandchild in process_guard.descendants(pid)
        )
        os.kill(server, signal.SIGKILL)
        process.wait(timeout=30)
    assert process.returncode == 1
    assert not is_alive(grandchild)
    assert (folder / process_guard.LOG_NAME).is_file()  # the parent may want to read it


def test_what_a_server_prints_is_in_its_log(folder: Path) -> None:
    command = [sys.executable, process_guard.__file__, str(folder), sys.executable, "-c", "print('cannot bind')"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        process.wait(timeout=30)
    assert (folder / process_guard.LOG_NAME).read_text() == "cannot bind\n"


def test_descendants_are_found_at_any_depth() -> None:
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as process:
        assert wait_for(lambda: len(process_guard.descendants(process.pid)) == 1)
        (grandchild,) = process_guard.descendants(process.pid)
        assert {process.pid, grandchild} <= set(process_guard.descendants(os.getpid()))
        process.communicate(timeout=30)
