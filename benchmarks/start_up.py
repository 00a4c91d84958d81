"""Part d: how long a person waits until something happens.

Of a command, the wall time is what counts; of the digits demo, the time from before its process is started until its
first round begins, when every client has its data and has said hello.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.child import Stopwatch
from benchmarks.engines import LOCAL, RAY
from benchmarks.experiments import MarkRounds
from benchmarks.measure import ROOT, Case
from fedkd.config.experiment import load_config
from fedkd.engines.simulation import simulate

_COMMANDS = {
    "python": "pass",
    "import torch": "import torch",
    "import flwr": "import flwr.serverapp, flwr.clientapp",
    "import fedkd.cli.main": "import fedkd.cli.main",
    "fedkd --help": "import sys; from fedkd.cli.main import main; sys.argv = ['fedkd', '--help']; main()",
}


def cases(*, quick: bool) -> list[Case]:
    """Each several times; the table shows the median."""
    repeats = range(1 if quick else 5)
    commands = [
        Case(f"d/{name}", command=(sys.executable, "-c", code)) for name, code in _COMMANDS.items() for _ in repeats
    ]
    toml = str(ROOT / "simulations" / "digits.toml")
    demos = [
        Case(
            f"d/digits on {name}",
            "benchmarks.start_up:run_until_first_round",
            {"toml": toml, "overrides": ["run.device=cpu", *engine]},
        )
        for name, engine in (("local", LOCAL), ("ray", RAY))
        for _ in repeats
    ]
    return commands + demos


class FirstRoundBegins(Exception):  # noqa: N818 (it is no error)
    """Ends a federation that nobody wants to go on."""


class StopAtFirstRound(MarkRounds):
    """Marks the first round's beginning and goes no further."""

    def on_phase(self, server_round: int, phase: str) -> None:
        super().on_phase(server_round, phase)
        raise FirstRoundBegins


def run_until_first_round(watch: Stopwatch, toml: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Form a federation and stop where its first round would begin."""
    try:
        simulate(load_config(toml, overrides), StopAtFirstRound(watch))
    except FirstRoundBegins:
        return {}
    raise RuntimeError("the federation ended before its first round began")
