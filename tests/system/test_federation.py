"""What a federation of containers does, and what it survives."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedkd.config import load_config
from fedkd.federation.observers import Observer
from fedkd.federation.simulation import simulate
from fedkd.records import StudentScore

pytestmark = pytest.mark.system

UNMASKED = ("clients.deadline=15.0", "clients.min_train_nodes=2")


def test_masked_rounds_end_where_the_simulation_does(federation, trial_config) -> None:
    printed, code = federation.run("masked", "secure_aggregation.enabled=true")
    assert code == 0, printed
    digits = Path(__file__).parents[2] / "simulations" / "digits.toml"
    simulated = simulate(load_config(digits, [*trial_config, "secure_aggregation.enabled=true"]), Observer())
    record = federation.record("masked")
    assert [each.replied for each in record.history] == [(0, 1, 2)] * 3
    assert all(each.secure_sum is not None for each in record.history)
    last: StudentScore = simulated.history[-1].student
    assert record.student.accuracy == pytest.approx(last.accuracy, abs=0.005)


def test_a_client_is_killed_in_mid_round_and_comes_back(federation, sh, wait_for) -> None:
    process = federation.run_in_background("killed", *UNMASKED, "run.rounds=6", "training.epochs=40")
    wait_for("the first round", lambda: federation.rounds_done("killed") >= 1)
    client = federation.container("client-2")
    sh("docker", "kill", client)
    wait_for("a round without it", lambda: federation.rounds_done("killed") >= 3)
    sh("docker", "start", client)
    printed, _ = process.communicate(timeout=300)
    assert process.returncode == 0, printed
    replied = [each.replied for each in federation.record("killed").history]
    assert (0, 1) in replied
    assert (0, 1, 2) in replied
    federation.all_online()


def test_the_superlink_restarts_between_rounds(federation, sh, wait_for) -> None:
    process = federation.run_in_background("restarted", *UNMASKED, "run.rounds=5", "clients.deadline=60.0")
    wait_for("the first round", lambda: federation.rounds_done("restarted") >= 1)
    sh("docker", "restart", federation.container("superlink"))
    process.communicate(timeout=300)
    wait_for("the last round", lambda: federation.rounds_done("restarted") == 5)
    assert all(each.completed for each in federation.record("restarted").history)
    federation.all_online()
