"""What a federation of containers does, and what it survives."""

from __future__ import annotations

import hashlib
import json

import pytest
from safetensors.numpy import load_file

from fedkd.deploy import resume_deployed, stop_deployed

pytestmark = pytest.mark.system

EVERYBODY = (0, 1, 2)
ENDLESS = ("run.rounds=1000", "training.epochs=20", "clients.deadline=10.0", "clients.min_train_nodes=1")
"""Rounds of about two seconds, until the test has seen what it wants."""


def any_round(_: object) -> bool:
    return True


def student_digest(federation, name: str) -> str:
    student = load_file(federation.deployment.runs / name / "student.safetensors")
    return hashlib.sha256(b"".join(student[key].tobytes() for key in sorted(student))).hexdigest()


def test_rounds_give_the_student_of_the_simulation(federation, simulate_in_image) -> None:
    simulation = simulate_in_image()
    federation.run("plain")
    assert all(each.replied == EVERYBODY for each in federation.record("plain").history)
    simulated = simulation.result()
    assert student_digest(federation, "plain") == simulated["student"]
    assert federation.record("plain").student.accuracy == simulated["accuracy"]


def test_masked_rounds_with_pinned_identities_end_where_the_simulation_does(federation, simulate_in_image) -> None:
    """Masked answers are rounded at random, so bits differ from run to run, with or without containers."""
    simulation = simulate_in_image("secure_aggregation.enabled=true")
    federation.run("masked", "secure_aggregation.enabled=true", "secure_aggregation.trust=active")
    record = federation.record("masked")
    assert [each.replied for each in record.history] == [EVERYBODY] * 3
    assert all(each.secure_sum is not None for each in record.history)
    assert record.student.accuracy == pytest.approx(simulation.result()["accuracy"], abs=0.005)
    asked = [json.loads(line) for line in federation.audit(0)]
    assert "masked answers on public samples" in {line.get("released") for line in asked}


DISTURBANCES = {
    "killed": (("kill", "{container}"), ("start", "{container}")),
    "hung": (("pause", "{container}"), ("unpause", "{container}")),
    "cut off": (
        ("network", "disconnect", "{network}", "{container}"),
        ("network", "connect", "{network}", "{container}"),
    ),
}


@pytest.mark.parametrize("how", DISTURBANCES)
def test_rounds_go_on_without_a_client_and_with_it_once_it_is_back(federation, sh, how: str) -> None:
    name = f"disturbed-{how.replace(' ', '-')}"
    words = {
        "container": federation.container("client-2"),
        "network": f"{federation.deployment.settings.project}_client-2",
    }
    away, back = ([word.format(**words) for word in command] for command in DISTURBANCES[how])
    process = federation.begin(name, *ENDLESS)
    first = federation.wait_for_round(name, "a round of all", lambda each: each.replied == EVERYBODY)
    sh("docker", *away)
    try:
        without = federation.wait_for_round(name, "a round without it", lambda each: each.replied == (0, 1), first)
    finally:
        sh("docker", *back)
    federation.wait_for_round(name, "a round with it", lambda each: each.replied == EVERYBODY, without)
    stop_deployed(federation.deployment, name)
    process.communicate(timeout=120)
    assert all(each.completed for each in federation.record(name).history)


def test_the_superlink_restarts_between_rounds(federation, sh) -> None:
    """Within Flower's heartbeat window the server app, a process of its own, goes on."""
    process = federation.begin("restarted", *ENDLESS)
    first = federation.wait_for_round("restarted", "a round", any_round)
    sh("docker", "restart", federation.container("superlink"))
    running = federation.wait_for_round("restarted", "a later round", any_round, first + 1)
    federation.wait_for_round("restarted", "a round of all", lambda each: each.replied == EVERYBODY, running)
    stop_deployed(federation.deployment, "restarted")
    process.communicate(timeout=120)


def test_a_run_whose_server_went_down_goes_on_from_its_snapshot(federation, sh, simulate_in_image) -> None:
    """The server's host is switched off: SuperLink and server app are gone at once, and the run with them."""
    settings = ("run.rounds=6", "training.epochs=20")
    process, simulation = federation.begin("resumed", *settings), simulate_in_image(*settings)
    federation.wait_for_round("resumed", "two rounds", lambda each: each.server_round == 2)
    server = [federation.container(service) for service in ("server-app", "superlink")]
    sh("docker", "kill", *server)
    process.communicate(timeout=120)
    before = federation.rounds("resumed")
    assert len(before) < 6
    sh("docker", "start", *server)
    federation.wait_until_online(3)
    stop_deployed(federation.deployment, "resumed")  # which the SuperLink takes for a run that goes on
    said: list[str] = []
    resume_deployed(federation.deployment, "resumed", said.append)
    history = federation.record("resumed").history
    assert [each.server_round for each in history] == list(range(1, 7)), said
    assert history[: len(before)] == before
    assert history[-1].replied == EVERYBODY
    assert student_digest(federation, "resumed") == simulation.result()["student"]
