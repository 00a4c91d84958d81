"""Runs a case in a fresh process and measures it from outside.

- Wall seconds: from before the process is started until it has ended.
- CPU seconds: of the process and all its descendants, Ray's among them. Two sums are taken and the larger counts: what
  the kernel accounts to the process and the children that were waited for (exact), and the last sample of every process
  ever seen in its tree (misses what each did after it, but sees those that nobody waits for, as Ray's workers).
- Peak memory: the largest sum of PSS over the tree, sampled every 0.2 s, or less often where a sample is dear (tens of
  milliseconds for a tree of many large processes), so that sampling takes no more than 5 % of one core.
- Rounds: wall and CPU seconds between the marks that the case sets (`benchmarks.child.Stopwatch`); start-up is the time
  from before the process is started until the first mark.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.process_tree import ProcessTree, read_stat

ROOT = Path(__file__).parents[1]
SAMPLING_SECONDS = 0.2
SAMPLING_SHARE = 0.05
"""Most of one core that sampling may take."""
GRACE_SECONDS = 10.0
"""How long processes that a case leaves behind may take to end before they are ended."""

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "PYTHONPATH": str(ROOT),
}


@dataclass(frozen=True)
class Case:
    """What is measured: `function` ("module:name") with `arguments` in a fresh interpreter, or else `command`."""

    name: str
    function: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """What a case took. Seconds; `None` for what the case does not have. `values` is what its function returned."""

    name: str
    wall: float
    cpu: float
    peak_mib: float
    load_before: float
    start_up: float | None = None
    rounds: float | None = None
    rounds_cpu: float | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


def measure(case: Case) -> Measurement:
    """Run one case; a case that fails has its last line of standard error in `error`."""
    with tempfile.TemporaryDirectory(prefix="fedkd-benchmark-") as folder:
        result = Path(folder) / "result.json"
        command = case.command or _child_command(case, result)
        load = os.getloadavg()[0]
        with (Path(folder) / "output.txt").open("w+b") as output:
            started = time.monotonic()
            process = subprocess.Popen(  # noqa: S603 (our own commands)
                command, cwd=ROOT, env={**os.environ, **ENVIRONMENT}, stdout=output, stderr=subprocess.STDOUT
            )
            code, cpu, peak = _follow(process)
            wall = time.monotonic() - started
            output.seek(0)
            text = output.read().decode(errors="replace")
        told = json.loads(result.read_text()) if result.is_file() else {}
    begun = told.get("begun")
    return Measurement(
        name=case.name,
        wall=wall,
        cpu=cpu,
        peak_mib=peak / 2**20,
        load_before=load,
        start_up=None if begun is None else begun - started,
        rounds=told.get("rounds"),
        rounds_cpu=told.get("rounds_cpu"),
        values=told.get("values", {}),
        error=None if code == 0 else f"exit {code}: {_last_line(text)}",
    )


def _child_command(case: Case, result: Path) -> tuple[str, ...]:
    return (sys.executable, "-m", "benchmarks.child", case.function, json.dumps(dict(case.arguments)), str(result))


def _follow(process: subprocess.Popen[bytes]) -> tuple[int, float, int]:
    """Sample the tree until its root has ended; returns exit code, CPU seconds and peak bytes."""
    tree, peak = ProcessTree(process.pid), 0
    before = os.times()
    while True:
        begun = time.process_time()
        peak = max(peak, tree.pss_bytes())
        spent = time.process_time() - begun
        try:
            code = process.wait(timeout=max(SAMPLING_SECONDS, spent / SAMPLING_SHARE))
        except subprocess.TimeoutExpired:
            continue
        after = os.times()
        accounted = after.children_user + after.children_system - before.children_user - before.children_system
        _end_the_rest(tree)
        return code, max(accounted, tree.seen_cpu_seconds()), peak


def _end_the_rest(tree: ProcessTree) -> None:
    """Wait for what the case left behind; end what does not end by itself, so that it does not disturb the next."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := tree.processes()) and time.monotonic() < deadline:
        time.sleep(SAMPLING_SECONDS)
    for stat in left:
        now = read_stat(stat.pid)
        if now is not None and now.started == stat.started:
            os.kill(stat.pid, 9)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "no output"
