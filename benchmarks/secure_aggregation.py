"""The speed of secure aggregation against its floor and its peer. Run from anywhere:

    python benchmarks/secure_aggregation.py [--json FILE] [--quick]

Prints Markdown. Every case is a fresh process with one thread. Seconds are CPU seconds, so that other work on the
machine does not stretch them; they are the least of several runs where a run takes seconds or less.
A target that is missed does not change the exit code; a sum that is wrong does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).parents[1]))  # the siblings are `benchmarks.*`, the package may be a checkout

from benchmarks import secure_rounds

Results = dict[str, dict[str, float]]

SIZES = {
    False: {"masks": (50, 1_000_000), "round": (50, 100_000), "thousand": (1000, 40_000)},
    True: {"masks": (5, 20_000), "round": (6, 1_000), "thousand": (70, 500)},
}


def cases(*, quick: bool) -> dict[str, Callable[[], dict[str, float]]]:
    """What is measured, by name."""
    sizes = SIZES[quick]
    return {
        "masking": lambda: secure_rounds.masking(*sizes["masks"]),
        "masking/flower": lambda: {"cpu": _flower().mask_expansion(*sizes["masks"])},
        "round": lambda: best_round(lambda: secure_rounds.whole_round(*sizes["round"])),
        "round/flower": lambda: _flower().whole_round(*sizes["round"]),
        "thousand": lambda: secure_rounds.whole_round(*sizes["thousand"]),
    }


def _flower() -> ModuleType:
    """The peer, whose imports would count as memory in the other cases."""
    return import_module("benchmarks.flower_secagg")


def best_round(measure: Callable[[], dict[str, float]], repeats: int = 3) -> dict[str, float]:
    """The quickest of several rounds after one that is not counted, in which libraries load their parts."""
    measure()
    return min((measure() for _ in range(repeats)), key=lambda result: result["cpu"])


def run_case(name: str, *, quick: bool) -> dict[str, float]:
    """Measure one case in a process of its own."""
    command = [sys.executable, __file__, "--case", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr.strip()}")
    measured: dict[str, float] = json.loads(done.stdout)
    print(f"{name}: {measured}", file=sys.stderr, flush=True)
    return measured


def as_markdown(results: Results, *, quick: bool) -> str:
    """Seconds, then ratios and their targets."""
    masking, flower_masking, ours, flower, thousand = results.values()
    masks, length = SIZES[quick]["masks"]
    rows = [
        ("Masking of one client / bare keystream", masking["masking_cpu"] / masking["keystream_cpu"], "≤ 1.6"),
        ("Flower's mask expansion / ours", flower_masking["cpu"] / masking["masking_cpu"], "≥ 6"),
        ("Whole round, CPU s", ours["cpu"], "≤ 1"),
        ("Flower's whole round, CPU s", flower["cpu"], "–"),
        ("Flower's whole round / ours", flower["cpu"] / ours["cpu"], "≥ 80"),
        ("Bytes a client sends / Flower's", ours["up_bytes"] / flower["up_bytes"], "≤ 0.55"),
        ("Bytes both ways / Flower's", _both(ours) / _both(flower), "≤ 0.55"),
        ("Sparse graph, whole round, CPU s", thousand["cpu"], "≤ 90"),
        ("Sparse graph, peak GiB", thousand["peak_gib"], "≤ 2"),
    ]
    sizes = ", ".join(f"{name}: n = {n}, D = {d:,}" for name, (n, d) in SIZES[quick].items())
    stages = ", ".join(f"{key[4:]} {value:.1f} s" for key, value in flower.items() if key.startswith("cpu "))
    return "\n".join(
        [
            f"{sizes}; {masks} masks of {4 * length / 1e6:.2g} MB; two drop-outs. Flower's round: {stages}.",
            "",
            "| what | measured | target |",
            "| --- | --- | --- |",
            *(f"| {what} | {value:.3g} | {target} |" for what, value, target in rows),
        ]
    )


def _both(result: dict[str, float]) -> float:
    return result["up_bytes"] + result["down_bytes"]


def main(arguments: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every measurement here")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    if parsed.case:
        measured = cases(quick=parsed.quick)[parsed.case]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({**measured, "peak_gib": peak}))
        return 0
    results = {name: run_case(name, quick=parsed.quick) for name in cases(quick=parsed.quick)}
    print(as_markdown(results, quick=parsed.quick))
    if parsed.json:
        parsed.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
