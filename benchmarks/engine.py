"""The speed of fedkd's engines against their floor and their peer. Run from anywhere:

    python benchmarks/engine.py [a b c d] [--json FILE] [--data-root DIR] [--repeat N] [--quick]

Prints Markdown. Exits with 1 where a case failed or results that must be equal are not. See `README.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the siblings are `benchmarks.*`, the package may be a checkout

from benchmarks import empty_rounds, many_clients, mnist_rounds, start_up
from benchmarks.measure import Case, Measurement, measure
from benchmarks.ratios import EQUALITIES, medians
from benchmarks.table import as_json, as_markdown, machine

PARTS = ("a", "b", "c", "d")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help="a, b, c, d, or part of one: b/fkd; all where none is given"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every measurement here")
    parser.add_argument("--data-root", type=Path, default=Path("data"), help="folder that holds MNIST/raw")
    parser.add_argument("--repeat", type=int, default=1, help="measure all so often; tables show medians")
    parser.add_argument("--quick", action="store_true", help="small sizes, no MNIST: whether it runs, not how fast")
    parsed = parser.parse_args(arguments)
    unknown = sorted(part for part in parsed.parts if part.partition("/")[0] not in PARTS)
    if unknown:
        parser.error(f"PART = {unknown[0]!r} is not allowed: one of {', '.join(PARTS)}")
    if parsed.repeat < 1:
        parser.error(f"--repeat = {parsed.repeat} is not allowed: at least 1")
    return parsed


def choose_cases(parts: list[str], data_root: Path, *, quick: bool) -> list[Case]:
    """The cases of these parts, or of all."""
    cases = [
        *empty_rounds.cases(quick=quick),
        *mnist_rounds.cases(data_root.resolve(), quick=quick),
        *many_clients.cases(data_root.resolve(), quick=quick),
        *start_up.cases(quick=quick),
    ]
    return [case for part in (parts or PARTS) for case in cases if f"{case.name}/".startswith(f"{part}/")]


def main(arguments: list[str]) -> int:
    """Measure, print, and say by the exit code whether all went well."""
    parsed = parse_arguments(arguments)
    cases = choose_cases(parsed.parts, parsed.data_root, quick=parsed.quick)
    if not cases:
        print(f"no case of {' '.join(parsed.parts)}", file=sys.stderr)
        return 2
    this_machine = machine()
    measurements: list[Measurement] = []
    for case in cases * parsed.repeat:
        measurements.append(measure(case))
        outcome = measurements[-1].error or f"{measurements[-1].wall:.1f} s"
        print(f"{case.name}: {outcome}", file=sys.stderr, flush=True)
    print(as_markdown(this_machine, measurements))
    if parsed.json:
        parsed.json.write_text(json.dumps(as_json(this_machine, measurements), indent=2) + "\n")
    unequal = [equality for equality in EQUALITIES if equality.holds(medians(measurements)) is False]
    return int(bool(unequal) or any(measurement.error for measurement in measurements))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
