"""Secure aggregation over Flower's SuperLink: sites that are killed at any stage leave the right sum, or none.

One run does it all: in every round other sites die, by SIGKILL and by themselves, so that it is known at which stage;
they are started anew, and the next round begins once all are back. Every sum is compared with what the sites have
noted of their unmasked answers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedkd.config.experiment import ExperimentConfig, load_config
from fedkd.federation.secure.identities import ROSTER, identity_path, make_identities
from fedkd.federation.secure.messages import STAGES
from fedkd.flower.app_bundle import write_app
from fedkd.records import RoundRecord
from fedkd.run_reports import read_run
from fedkd.site.export import export

pytestmark = pytest.mark.slow

MORTAL_SITES = Path(__file__).with_name("mortal_sites.py")

CLIENTS = (0, 1, 2, 3)
"""0 and 2 have the student's architecture and are sent the student, 1 and 3 are sent the last round's teacher."""

REFUSED, ROUNDS = 5, 10
DEATHS = [  # of four sites three must stay; of three that have sent keys, two
    (1, 3, "advertise", "before"),
    (1, 2, "share", "before"),
    (2, 3, "advertise", "after"),
    (2, 0, "share", "after"),
    (3, 2, "mask", "before"),
    (4, 1, "mask", "after"),
    (REFUSED, 0, "mask", "before"),
    (REFUSED, 3, "mask", "after"),
    (6, 1, "confirm", "before"),
    (7, 3, "confirm", "after"),
    (8, 0, "unmask", "before"),
    (9, 2, "unmask", "after"),
]


def deploy(config: ExperimentConfig, folder: Path) -> ExperimentConfig:
    """Write the sites' data and identities and the app; returns the experiment over them."""
    make_identities(folder / "identities", CLIENTS)
    changes = [f"run.output={folder}", "run.name=masked", f"secure_aggregation.identities={folder / 'identities'}"]
    changes += ["secure_aggregation.enabled=true", "secure_aggregation.trust=active"]
    changes += ["secure_aggregation.minimum_cohort=2"]
    write_app(folder / "app")
    return load_config(export(config, folder / "trial"), changes)


def noted(folder: Path, server_round: int) -> dict[int, dict[str, np.ndarray]]:
    """By client what it was sent in a round and what it answered, where it came to that."""
    paths = {client: folder / "trial" / f"client-{client}" / f"work-{server_round}.npz" for client in CLIENTS}
    return {client: dict(np.load(path)) for client, path in paths.items() if path.exists()}


def student(notes: dict[int, dict[str, np.ndarray]]) -> dict[str, bytes]:
    """The student that was sent in a round."""
    note = next(note for note in notes.values() if "teacher" not in note)
    return {name: array.tobytes() for name, array in note.items() if name.startswith("weights/")}


def test_sites_that_are_killed_at_any_stage(
    small_config: Callable[..., ExperimentConfig], start_loopback: Callable[[Path], Any], tmp_path: Path
) -> None:
    clients = {"number": 4, "models": ["mlp", "cnn"], "min_train_nodes": 4, "deadline": 100.0, "join_timeout": 200.0}
    deployed = deploy(small_config(run={"rounds": ROUNDS}, clients=clients), tmp_path)
    loopback = start_loopback(tmp_path)
    roster = f'roster = "{tmp_path / "identities" / ROSTER}"'
    identities = [f'identity = "{identity_path(tmp_path / "identities", client)}"' for client in CLIENTS]
    sites = [loopback.describe(client, roster, identities[client]) for client in CLIENTS]
    (tmp_path / "plan.json").write_text(json.dumps(DEATHS))
    loopback.start([sys.executable, *map(str, [MORTAL_SITES, tmp_path / "plan.json", *sites])], tmp_path / "log")
    log, _ = loopback.submit(tmp_path / "app", deployed).communicate(timeout=540)

    history = read_run(tmp_path / "masked").history
    assert [record.server_round for record in history] == list(range(1, ROUNDS + 1)), log
    deaths = [json.loads(line) for line in (tmp_path / "deaths.jsonl").read_text().splitlines()]
    assert sorted(deaths) == sorted([client, -9] for _, client, _, _ in DEATHS)
    for record in history:
        require_deaths(record, loopback)
        assert record.selected == CLIENTS
    for record in history[:-1]:
        before, after = noted(tmp_path, record.server_round), noted(tmp_path, record.server_round + 1)
        if record.server_round == REFUSED:
            assert record.secure_sum.failure.startswith("BelowThresholdError: ")
            assert (record.completed, record.replied) == (False, ())
            assert student(after) == student(before)
            continue
        assert record.completed
        plain = [np.clip(before[client]["logits"].astype(np.float64), -30, 30) for client in record.replied]
        (teacher, *_) = [note["teacher"] for note in after.values() if "teacher" in note]
        assert np.abs(teacher - np.mean(plain, axis=0)).max() < record.secure_sum.resolution
        assert student(after) != student(before)
    assert history[-1].completed


def require_deaths(record: RoundRecord, loopback: Any) -> None:
    """The sites of the plan, and no others, were missing, from the stage of the plan on; all others are in the sum."""
    planned = [death[1:] for death in DEATHS if death[0] == record.server_round]
    missing: dict[str, list[int]] = {}
    for client, stage, moment in planned:
        missing.setdefault(stage, []).append(client)
        released = {line["released"] for line in loopback.audit(client) if line["round"] == record.server_round}
        kinds = ["masked answers on public samples" if each == "mask" else f"key agreement ({each})" for each in STAGES]
        last = STAGES.index(stage) + (moment == "after")
        assert kinds[1:last] == [kind for kind in kinds[1:] if kind in released]  # keys may have been sent ahead
        assert (kinds[0] in released) <= (last > 0)
    assert record.secure_sum is not None
    assert record.secure_sum.dropped == {stage: tuple(sorted(clients)) for stage, clients in missing.items()}
    unsent = {client for client, stage, _ in planned if stage in {"advertise", "share", "mask"}}
    if record.server_round != REFUSED:
        assert record.replied == tuple(client for client in CLIENTS if client not in unsent)
