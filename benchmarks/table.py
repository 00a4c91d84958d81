"""The measurements as Markdown and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.many_clients import client_rounds
from benchmarks.measure import Measurement
from benchmarks.ratios import EQUALITIES, RATIOS, medians

_VERDICTS = {True: "yes", False: "NO", None: "–"}


def machine() -> dict[str, Any]:
    """Cores, processor, memory, versions, and the load average before anything is measured."""
    versions = {name: importlib.metadata.version(name) for name in ("fedkd", "torch", "flwr", "ray", "numpy")}
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_before": os.getloadavg(),
        "versions": {"python": platform.python_version(), **versions},
    }


def as_json(machine: Mapping[str, Any], measurements: Sequence[Measurement]) -> dict[str, Any]:
    """Everything, every repetition included."""
    of_case = medians(measurements)
    return {
        "machine": machine,
        "measurements": [asdict(measurement) for measurement in measurements],
        "ratios": [
            {**asdict(ratio), "value": ratio.value(of_case), "met": ratio.met(of_case)}
            for ratio in RATIOS
            if ratio.value(of_case) is not None
        ],
        "equalities": [{**asdict(equality), "holds": equality.holds(of_case)} for equality in EQUALITIES],
    }


def as_markdown(machine: Mapping[str, Any], measurements: Sequence[Measurement]) -> str:
    """The tables of the README."""
    of_case = medians(measurements)
    parts = [_machine_line(machine), _cases(of_case.values()), _ratios(of_case), _equalities(of_case)]
    if any(name.startswith("c/") for name in of_case):
        parts.insert(2, _client_rounds(of_case.values()))
    failures = [f"- `{case.name}` failed: {case.error}" for case in of_case.values() if case.error]
    return "\n\n".join([part for part in parts if part] + (["\n".join(failures)] if failures else []))


def _machine_line(machine: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    load = ", ".join(f"{value:.2f}" for value in machine["load_before"])
    processor = f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gib']} GiB"
    return f"{processor}; {versions}; load average before: {load}."


def _cases(cases: Iterable[Measurement]) -> str:
    head = ("case", "wall s", "CPU s", "until the rounds s", "rounds s", "rounds CPU s", "peak MiB", "load before")
    rows = [
        (
            f"`{case.name}`",
            *(_number(value) for value in (case.wall, case.cpu, case.start_up, case.rounds, case.rounds_cpu)),
            f"{case.peak_mib:.0f}",
            f"{case.load_before:.1f}",
        )
        for case in cases
        if not case.error
    ]
    return _table(head, rows)


def _client_rounds(cases: Iterable[Measurement]) -> str:
    rows = [
        (f"`{case.name}`", f"{1000 * case.rounds / client_rounds(case.name):.2f}", f"{case.peak_mib:.0f}")
        for case in cases
        if case.name.startswith("c/") and case.rounds is not None
    ]
    return _table(("clients", "ms a client and round", "peak MiB"), rows)


def _ratios(of_case: Mapping[str, Measurement]) -> str:
    rows = []
    for ratio in RATIOS:
        value = ratio.value(of_case)
        if value is not None:
            target = "–" if ratio.target is None else f"{ratio.target[0]} {ratio.target[1]:g}"
            rows.append((f"{ratio.part}: {ratio.text}", f"{value:.2f}", target, _VERDICTS[ratio.met(of_case)]))
    return _table(("ratio", "value", "target", "met"), rows)


def _equalities(of_case: Mapping[str, Measurement]) -> str:
    rows = [(equality.text, _VERDICTS[equality.holds(of_case)]) for equality in EQUALITIES]
    return _table(("equal results", "holds"), [row for row in rows if row[1] != _VERDICTS[None]])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
