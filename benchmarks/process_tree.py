"""What a process and all its descendants use, read from Linux's `/proc`.

CPU seconds are user + system time in clock ticks (10 ms). Memory is the sum of proportional set sizes (PSS): a page
that n processes share counts 1/n in each, so that the sum is what the tree really holds.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")


@dataclass(frozen=True)
class Stat:
    """One line of `/proc/PID/stat`; `started` and `pid` together name a process for good."""

    pid: int
    parent: int
    own_seconds: float
    reaped_seconds: float
    started: int


def read_stat(pid: int) -> Stat | None:
    """Read one process; `None` where it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name, in parentheses, may hold anything
    user, system, reaped_user, reaped_system = (int(field) for field in fields[11:15])
    return Stat(
        pid=pid,
        parent=int(fields[1]),
        own_seconds=(user + system) / _TICK,
        reaped_seconds=(reaped_user + reaped_system) / _TICK,
        started=int(fields[19]),
    )


def read_pss(pid: int) -> int:
    """Proportional set size in bytes; 0 where the process is gone or is not ours."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


class ProcessTree:
    """A process and its descendants, followed over time.

    A process that was seen once is followed for as long as it lives, even where its parent is gone (Ray's are).

    Args:
        root: process id.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._known: dict[tuple[int, int], Stat] = {}

    def processes(self) -> list[Stat]:
        """All members that are alive now."""
        everyone = [stat for stat in map(read_stat, _pids()) if stat is not None]
        members = {s.pid for s in everyone if s.pid == self._root or (s.pid, s.started) in self._known}
        grown = True
        while grown:
            children = {stat.pid for stat in everyone if stat.parent in members} - members
            members |= children
            grown = bool(children)
        alive = [stat for stat in everyone if stat.pid in members]
        self._known.update({(stat.pid, stat.started): stat for stat in alive})
        return alive

    def pss_bytes(self) -> int:
        """Memory of all members that are alive now."""
        return sum(read_pss(stat.pid) for stat in self.processes())

    def seen_cpu_seconds(self) -> float:
        """CPU seconds of every member ever seen, each as it was last seen."""
        return sum(stat.own_seconds for stat in self._known.values())

    def cpu_seconds(self) -> float:
        """CPU seconds of all members that are alive now, and of the children that they have waited for."""
        return sum(stat.own_seconds + stat.reaped_seconds for stat in self.processes())


def _pids() -> list[int]:
    return [int(entry.name) for entry in _PROC.iterdir() if entry.name.isdigit()]
