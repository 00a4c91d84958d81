"""Where the seconds of a deployed round go: Flower's SuperNodes as they are, against fedkd's sites. One run has both.

    python benchmarks/deployment.py [plain] [masked] [--rounds N] [--json FILE]

A SuperLink and three clients on the loopback interface, the same experiment on the same files:

    stock   `flower-supernode`, which starts a process for each message, and Flower's grid, with Flower's own pauses
    sites   `fedkd client run`, whose process stays, and fedkd's grid

Without masks both must end with the same student. An exchange is split by the client that answers last, so that the
phases add up to the round. It needs Linux.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))


import tomli_w

from benchmarks.deployed_apps import EVENTS, TRIAL
from fedkd.config.experiment import ExperimentConfig, load_config
from fedkd.engines.flower import answers, guarded, runtime_environment
from fedkd.flower.app_bundle import EXPERIMENT_KEY, RESUMED_KEY, app_manifest
from fedkd.flower.ports import free_port
from fedkd.site.export import export

ROOT = Path(__file__).parents[1]
CLIENTS = 3
PHASES = (
    "fetched",
    "process started, libraries imported",
    "message read",
    "worked",
    "reply noticed",
    "server's own work",
)
FLOWERS_POLL = {"FLWR_SUPEREXEC_TASK_POLL_INTERVAL"}
"""Variables of ours that make Flower's runtime look more often; without them it has its own pauses."""


@dataclass(frozen=True)
class Timing:
    """Mean seconds of a round, and of its phases."""

    total: float
    phases: dict[str, float]
    exchanges: float
    student: str
    accuracy: float


def measure(kind: str, masked: bool, rounds: int) -> Timing:
    """Deploy one kind of clients, run an experiment, and split its rounds; the first one is not counted."""
    with tempfile.TemporaryDirectory(prefix="fedkd-deployment-") as name:
        folder = Path(name)
        changes = [f"clients.number={CLIENTS}", "data.train_size=600", "run.baselines=false", "training.epochs=2"]
        changes += [f"run.rounds={rounds + 1}", f"secure_aggregation.enabled={str(masked).lower()}"]
        simulated = load_config(ROOT / "simulations" / "digits.toml", changes)
        trial = export(simulated, folder / "trial").parent
        config = load_config(
            trial / "experiment.toml", [f"run.output={folder}", "run.name=run", "clients.deadline=120"]
        )
        with deployed(kind, folder) as submit:
            submit(config)
        events = [json.loads(line) for line in (folder / "events").read_text().splitlines()]
        record = json.loads((folder / "run" / "run.json").read_text())
        student = sha256((folder / "run" / "student.safetensors").read_bytes()).hexdigest()
    total, phases, exchanges = split(events)
    return Timing(total, phases, exchanges, student, record["student"]["accuracy"])


@contextmanager
def deployed(kind: str, folder: Path) -> Iterator[Any]:
    """A SuperLink and its clients; yields what runs an experiment on them."""
    environment = runtime_environment(folder) | {EVENTS: str(folder / "events"), TRIAL: str(folder / "trial")}
    environment |= {"OMP_NUM_THREADS": "1", "FEDKD_BENCHMARK_PROMPT": "1" if kind == "sites" else "0"}
    if kind == "stock":
        environment = {key: value for key, value in environment.items() if key not in FLOWERS_POLL}
    port = free_port()
    address = f"127.0.0.1:{port}"
    (folder / "config.toml").write_text(f'[superlink.loopback]\naddress = "{address}"\ninsecure = true\n')
    write_app(folder / "app")
    with ExitStack() as running:

        def start(name: str, *command: str) -> subprocess.Popen[bytes]:
            (folder / name).mkdir()
            return running.enter_context(guarded(folder / name, [*command], environment))

        link = start("link", "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port))
        if not answers(port, link):
            raise RuntimeError("flower-superlink does not answer")
        for client in range(CLIENTS):
            if kind == "stock":
                node = ("--node-config", f"partition-id={client} num-partitions={CLIENTS}", "--port", str(free_port()))
                start(f"node-{client}", "flower-supernode", "--insecure", "--superlink", address, *node)
            else:
                site = write_site(folder, client, address)
                start(f"node-{client}", sys.executable, "-m", "benchmarks.deployed_apps", str(site))

        def submit(config: ExperimentConfig) -> None:
            values = {EXPERIMENT_KEY: config.model_dump_json(), RESUMED_KEY: ""}
            (folder / "run.toml").write_text(tomli_w.dumps(values))
            command = [
                "flwr",
                "run",
                str(folder / "app"),
                "loopback",
                "--run-config",
                str(folder / "run.toml"),
                "--stream",
            ]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
            if not (folder / "run" / "run.json").is_file():
                raise RuntimeError(f"the run failed:\n{done.stdout[-3000:]}{done.stderr[-1000:]}")

        yield submit


def write_app(folder: Path) -> None:
    """The app whose parts take notes."""
    manifest = app_manifest("benchmarks.deployed_apps:server_app", **{RESUMED_KEY: ""})
    manifest["tool"]["flwr"]["app"]["components"]["clientapp"] = "benchmarks.deployed_apps:client_app"
    folder.mkdir()
    (folder / "pyproject.toml").write_text(tomli_w.dumps(manifest))


def write_site(folder: Path, client: int, address: str) -> Path:
    """A site's settings; the bundle that takes notes is the one that it admits."""
    from flwr.cli.build import build_fab_from_disk

    place = folder / "trial" / f"client-{client}"
    values = {
        "client": client,
        "num_clients": CLIENTS,
        "superlink": address,
        "insecure": True,
        "private": "private",
        "public": "public",
        "state": "state",
        "policy": {"allowed_bundles": [sha256(build_fab_from_disk(folder / "app")).hexdigest()]},
    }
    (place / "site.toml").write_text(tomli_w.dumps(values))
    return place / "site.toml"


def split(events: list[dict[str, Any]]) -> tuple[float, dict[str, float], float]:
    """Mean seconds of all rounds but the first, from one's first message to the next one's; of each phase in it; and
    the exchanges in it. The last round has no next one and is not counted either where there are others.
    """
    sent = sorted((each for each in events if each["what"] == "sent" and each["round"].isdecimal()), key=at)
    begun = {each["message"]: each for each in events if each["what"] == "begun"}
    ended = {each["message"]: each["at"] for each in events if each["what"] == "ended"}
    noticed = defaultdict(list)
    for each in events:
        if each["what"] == "noticed":
            noticed[each["exchange"]].append(each)
    by_round: dict[int, dict[str, float]] = {}
    totals: dict[int, float] = {}
    counts: dict[int, int] = defaultdict(int)
    for exchange, following in itertools.pairwise(sent):
        number = int(exchange["round"])
        last = max(noticed[exchange["exchange"]], key=lambda reply: ended[reply["message"]])
        first, done = begun[last["message"]], ended[last["message"]]
        all_noticed = max(map(at, noticed[exchange["exchange"]]))
        began = first.get("started") or first["at"]
        fetched = max(began, exchange["at"])
        imported = first.get("imported") or first["at"]
        marks = [exchange["at"], fetched, max(imported, fetched), first["at"], done, all_noticed, following["at"]]
        spans = [later - earlier for earlier, later in itertools.pairwise(marks)]
        phases = by_round.setdefault(number, dict.fromkeys(PHASES, 0.0))
        for phase, span in zip(PHASES, spans, strict=True):
            phases[phase] += span
        totals[number] = totals.get(number, 0.0) + following["at"] - exchange["at"]
        counts[number] += 1
    last_round = max(int(each["round"]) for each in sent)
    counted = [number for number in by_round if 1 < number < last_round]
    phases = {phase: mean(by_round[number][phase] for number in counted) for phase in PHASES}
    return mean(totals[number] for number in counted), phases, mean(counts[number] for number in counted)


def at(event: dict[str, Any]) -> float:
    """When it happened."""
    return float(event["at"])


def main() -> None:
    """Measure all four and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", default=["plain", "masked"], help="plain, masked; both by default")
    parser.add_argument("--rounds", type=int, default=4, help="rounds after the first; the last is not counted")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    timings: dict[str, Timing] = {}
    for answers_are in arguments.cases:
        for kind in ("stock", "sites"):
            print(f"{answers_are}, {kind}; load average {os.getloadavg()[0]:.1f} …", file=sys.stderr)
            timings[f"{answers_are}/{kind}"] = measure(kind, answers_are == "masked", arguments.rounds)
    rows = [["exchanges", *(f"{each.exchanges:.0f}" for each in timings.values())]]
    rows += [[phase, *(f"{each.phases[phase]:.2f}" for each in timings.values())] for phase in PHASES]
    rows += [["**a round**", *(f"**{each.total:.2f}**" for each in timings.values())]]
    for row in (["seconds", *(f"`{name}`" for name in timings)], ["---", *["---:"] * len(timings)], *rows):
        print(f"| {' | '.join(row)} |")
    for answers_are in arguments.cases:
        ratio = timings[f"{answers_are}/stock"].total / timings[f"{answers_are}/sites"].total
        print(f"{answers_are}: a round of stock / of sites: {ratio:.1f}")
    same = "plain" not in arguments.cases or timings["plain/stock"].student == timings["plain/sites"].student
    print("" if same else "without masks both must end with the same student, and do not")
    if arguments.json:
        arguments.json.write_text(json.dumps({name: vars(each) for name, each in timings.items()}, indent=2))
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
