"""Part d: how long a person waits until something happens.

Of a command, the wall time is what counts; of the digits demo, the time from before its process is started until its
first round begins, when every client has its data and has said hello.
"""

from __future__ import annotations

import sys

from benchmarks.engines import LOCAL, RAY
from benchmarks.measure import ROOT, Case

_COMMANDS = {
    "python": "pass",
    "import torch": "import torch",
    "import flwr": "import flwr.serverapp, flwr.clientapp",
    "import fedkd.cli": "import fedkd.cli",
    "fedkd --help": "import sys; from fedkd.cli import main; sys.argv = ['fedkd', '--help']; main()",
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
            "benchmarks.experiments:run_fedkd",
            {"toml": toml, "overrides": ["run.rounds=1", "run.bounds=false", "run.device=cpu", *engine]},
        )
        for name, engine in (("local", LOCAL), ("ray", RAY))
        for _ in repeats
    ]
    return commands + demos
