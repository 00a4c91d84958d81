"""What is stated of the measurements: ratios with their targets, and results that must be equal."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median_low
from typing import Literal

from benchmarks.measure import Measurement

Relation = Literal["<=", ">=", "<"]
_RELATIONS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt}


@dataclass(frozen=True)
class Ratio:
    """`field` of the case `over`, divided by the same of the case `under`."""

    part: str
    text: str
    field: Literal["wall", "cpu", "peak_mib", "rounds", "rounds_cpu"]
    over: str
    under: str
    target: tuple[Relation, float] | None = None

    def value(self, medians: Mapping[str, Measurement]) -> float | None:
        """The ratio, or `None` where a case was not measured or failed."""
        pair = [medians.get(name) for name in (self.over, self.under)]
        over, under = (None if case is None or case.error else getattr(case, self.field) for case in pair)
        return None if over is None or not under else float(over / under)

    def met(self, medians: Mapping[str, Measurement]) -> bool | None:
        """Whether the target is met; `None` where there is none, or no value."""
        value = self.value(medians)
        if value is None or self.target is None:
            return None
        relation, limit = self.target
        return bool(_RELATIONS[relation](value, limit))


@dataclass(frozen=True)
class Equality:
    """Cases that must have told the same value."""

    text: str
    key: str
    names: tuple[str, ...]

    def holds(self, medians: Mapping[str, Measurement]) -> bool | None:
        """Whether all that were measured agree; `None` where fewer than two were."""
        told = [
            medians[name].values.get(self.key) for name in self.names if name in medians and not medians[name].error
        ]
        return None if len(told) < 2 else len(set(told)) == 1


def medians(measurements: Iterable[Measurement]) -> dict[str, Measurement]:
    """Of the measurements of one case, the one with the median wall time; one that failed stands for all."""
    by_name: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        by_name.setdefault(measurement.name, []).append(measurement)
    return {name: _median(of_one_case) for name, of_one_case in by_name.items()}


def _median(of_one_case: list[Measurement]) -> Measurement:
    failed = [measurement for measurement in of_one_case if measurement.error]
    if failed:
        return failed[0]
    wall = median_low(measurement.wall for measurement in of_one_case)
    return next(measurement for measurement in of_one_case if measurement.wall == wall)


def _of_method(method: str, ray_target: float) -> list[Ratio]:
    plain, two, local, ray, flower = (f"b/{method}/{run}" for run in ("plain", "plain-2", "local", "ray", "flower"))
    return [
        Ratio("b", f"{method}: CPU of the rounds, local / plain loop", "rounds_cpu", local, plain, ("<=", 1.10)),
        Ratio("b", f"{method}: wall of the rounds, ray / plain loop", "rounds", ray, plain, ("<=", ray_target)),
        Ratio("b", f"{method}: wall of the rounds, plain loop on two processes / on one", "rounds", two, plain),
        Ratio("b", f"{method}: wall of the rounds, ray / Flower", "rounds", ray, flower, ("<=", 0.5)),
        Ratio("b", f"{method}: wall of the rounds, local / Flower", "rounds", local, flower),
        Ratio("b", f"{method}: wall of all, ray / Flower", "wall", ray, flower),
        Ratio("b", f"{method}: CPU of all, local / Flower", "cpu", local, flower),
        Ratio("b", f"{method}: peak memory, ray / Flower", "peak_mib", ray, flower, ("<", 1.0)),
        Ratio("b", f"{method}: peak memory, local / Flower", "peak_mib", local, flower, ("<", 1.0)),
    ]


RATIOS: tuple[Ratio, ...] = (
    Ratio("a", "wall of the rounds, Flower / local", "rounds", "a/flower", "a/local", (">=", 20)),
    Ratio("a", "wall of the rounds, Flower / ray", "rounds", "a/flower", "a/ray", (">=", 8)),
    *_of_method("fedavg", 0.68),
    *_of_method("fkd", 0.65),
    Ratio("b", "fkd: wall of the rounds, ray / plain loop without shards", "rounds", "b/fkd/ray", "b/fkd/plain-whole"),
    Ratio("b", "fkd: plain loop in two shards / without", "rounds", "b/fkd/plain", "b/fkd/plain-whole"),
)

EQUALITIES: tuple[Equality, ...] = (
    Equality("a: every engine brings the same floats back", "sum", ("a/local", "a/ray", "a/flower")),
    Equality(
        "b: fedavg ends in the same bytes on plain loops and on fedkd's engines",
        "student",
        tuple(f"b/fedavg/{run}" for run in ("plain", "plain-2", "local", "ray")),
    ),
    Equality(
        "b: fkd ends in the same bytes on plain loops, on fedkd's engines and on Flower's",
        "student",
        tuple(f"b/fkd/{run}" for run in ("plain", "plain-2", "local", "ray", "flower")),
    ),
    *(
        Equality(
            f"c: {number} clients end in the same bytes on both engines",
            "student",
            (f"c/{number}/local", f"c/{number}/ray"),
        )
        for number in (100, 1_000, 10_000)
    ),
)
