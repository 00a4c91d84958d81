"""A study with one worker and with two: how much sooner it is done, and that its tables are the same.

    python benchmarks/study.py [STUDY.toml]    # simulations/studies/digits-methods.toml by default

Each case is `fedkd study` as a process of its own, imports, Ray's start and the study's page included. Prints seconds
and their ratio; exits with 1 where a table differs. Nothing else should run on the machine: the load average before
each case is printed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = Path(__file__).parents[1] / "simulations" / "studies" / "digits-methods.toml"
TABLES = ("results.csv", "results.parquet", "rounds.csv", "rounds.parquet", "summary.md", "study.html")


def run_study(study: Path, output: Path, workers: int) -> float:
    """Run the study and return its seconds."""
    print(f"{workers} workers, load average before it {os.getloadavg()[0]:.2f}", file=sys.stderr)
    command = [sys.executable, "-c", "from fedkd.cli.main import main; main()", "study", str(study)]
    began = time.perf_counter()
    subprocess.run(  # noqa: S603 (our own command)
        [*command, "--output", str(output), "--workers", str(workers)],
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return time.perf_counter() - began


def main() -> int:
    """Compare one worker with two; returns the exit code."""
    study = Path(sys.argv[1]) if len(sys.argv) > 1 else STUDY
    with tempfile.TemporaryDirectory() as folder:
        outputs = {workers: Path(folder) / str(workers) for workers in (1, 2)}
        seconds = {workers: run_study(study, output, workers) for workers, output in outputs.items()}
        one, two = (next(output.iterdir()) for output in outputs.values())
        different = [name for name in TABLES if (one / name).read_bytes() != (two / name).read_bytes()]
    print(f"one worker {seconds[1]:.1f} s, two {seconds[2]:.1f} s: {seconds[1] / seconds[2]:.2f} times as fast")
    print(f"tables that differ: {', '.join(different) or 'none'}")
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main())
