"""Print a table of per-round accuracies, bounds included, from run folders.

    python simulations/tabulate.py runs/*

One row a run, ordered by Dirichlet alpha, method and seed; the bounds of equal runs are printed once. Where a method
has no student, its clients' mean stands in the row, and the row says so.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fedkd.experiment import read_run
from fedkd.records import RunRecord

ORDER = ("fkd", "fedmd", "feddf", "fedavg", "fedprox")


def row(name: str, alpha: float, seed: int, curve: list[float | None]) -> str:
    """Format one row; the last round stands out."""
    cells = ["–" if value is None else f"{100 * value:.1f}" for value in curve]
    cells[-1] = f"**{cells[-1]}**"
    return f"| {alpha:g} | {name} | {seed} | " + " | ".join(cells) + " |"


def rows(run: RunRecord, alpha: float) -> list[tuple[tuple[float, int, int], str]]:
    """Rows of one run, each with the key to sort it by."""
    by_clients = run.student.accuracy is None
    name = run.method + (" (clients' mean)" if by_clients else "")
    curve = [record.clients.mean_accuracy if by_clients else record.student.accuracy for record in run.history]
    result = [((alpha, 2 + ORDER.index(run.method), run.seed), row(name, alpha, run.seed, curve))]
    for place, bound in enumerate(("local_only", "centralised")):
        history = list(getattr(run.bounds, f"{bound}_history"))
        if history:
            name = f"bound: {bound.replace('_', '-')}"
            result.append(((alpha, place, run.seed), row(name, alpha, run.seed, history)))
    return result


def main() -> None:
    """Read the folders named on the command line and print the table."""
    lines: dict[tuple[float, int, int], str] = {}
    rounds = 0
    for folder in sys.argv[1:]:
        store, run = read_run(Path(folder))
        rounds = max(rounds, len(run.history))
        lines |= dict(rows(run, float(store.read_config()["data"]["partition"]["dirichlet_alpha"])))
    numbers = [str(number) for number in range(1, rounds + 1)]
    print("| alpha | method | seed | " + " | ".join(numbers) + " |")
    print("| ---: | --- | ---: |" + " ---: |" * rounds)
    print("\n".join(lines[key] for key in sorted(lines)))


if __name__ == "__main__":
    main()
