"""A program that keeps a server running for as long as its parent holds its standard input open.

    python process_guard.py FOLDER COMMAND...

It starts COMMAND, whose output goes to FOLDER/server.log. As soon as standard input ends, because the parent closed it
or is no more, however it ended, the guard stops COMMAND and all that COMMAND has started, and removes FOLDER. Where
COMMAND ends by itself, the guard stops what is left of it and fails; FOLDER stays, so that the log can be read.
Only the standard library is used, so that the guard starts in no time.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

LOG_NAME = "server.log"

_GRACE = 3.0
"""Seconds in which processes may end by themselves before they are killed; none has anything to save."""

_PR_SET_CHILD_SUBREAPER = 36
"""From Linux's prctl.h."""


def main(folder: Path, command: list[str]) -> None:
    """Run `command` until standard input ends, or until it ends itself."""
    _adopt_orphans()
    alive, held_by_server = os.pipe()
    with (folder / LOG_NAME).open("wb") as log:
        server = subprocess.Popen(  # noqa: S603 - the caller's own program
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=[held_by_server]
        )
    os.close(held_by_server)
    ended, _, _ = select.select([sys.stdin.fileno(), alive], [], [])
    family = set(descendants(os.getpid()))
    server.terminate()
    _wait_or_kill(family)
    if sys.stdin.fileno() not in ended:
        sys.exit("the server ended by itself")
    shutil.rmtree(folder, ignore_errors=True)


def _adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, where the system can do that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def descendants(pid: int) -> list[int]:
    """Processes that `pid` has started, and those that they have started, and so on."""
    parents = _living()
    found = [pid]
    for each in found:  # grows as it goes
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def _living() -> dict[int, int]:
    """The parent of every process on this machine; those that ended and only wait to be asked how are left out."""
    if Path("/proc/self/stat").is_file():
        lines = [_first_fields(path) for path in Path("/proc").glob("[0-9]*/stat")]
    else:
        command = ["ps", "-A", "-o", "pid=,stat=,ppid="]
        listing = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603
        lines = [line.split() for line in listing.stdout.splitlines()]
    return {int(pid): int(parent) for pid, state, parent in filter(None, lines) if not state.startswith("Z")}


def _first_fields(stat: Path) -> list[str]:
    """Process id, state and parent; nothing where the process is no more. The name between may hold spaces."""
    try:
        pid, _, rest = stat.read_text(errors="replace").partition(" (")
    except OSError:
        return []
    return [pid, *rest.rpartition(") ")[2].split()[:2]]


def _wait_or_kill(family: set[int]) -> None:
    deadline = time.monotonic() + _GRACE
    while left := family & _living().keys():
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
        family.update(descendants(os.getpid()))  # what was started meanwhile


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
