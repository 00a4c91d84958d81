"""Federations under secure aggregation: the teacher of a plain run, to within the resolution; nothing of one client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from fedkd.config import ExperimentConfig
from fedkd.errors import ConfigError, RoundError
from fedkd.federation.checkpoints import Checkpoints
from fedkd.federation.bundle import EXPERIMENT_KEY
from fedkd.federation.client_app import app as client_app
from fedkd.federation.engines import LocalGrid
from fedkd.federation.engines.internals import task_identity
from fedkd.federation.messages import TRAIN, TrainInstruction, instruction_to_records
from fedkd.federation.observers import Observer
from fedkd.federation.secure_messages import answer_from_records
from fedkd.federation.server_app import FederationResult
from fedkd.federation.simulation import simulate
from fedkd.reporting.snapshots import SnapshotStore

MakeConfig = Callable[..., ExperimentConfig]
SECURE = {"enabled": True, "minimum_cohort": 2}
STUDENT = {"model": "mlp", "epochs": 2}


def last_teacher(config: ExperimentConfig, folder: Path) -> tuple[FederationResult, np.ndarray]:
    """The result, and the teacher's logits of the last round, as the server keeps them."""
    store = SnapshotStore(folder)
    result = simulate(config, Observer(), Checkpoints(store))
    snapshot = store.read_latest()
    assert snapshot is not None
    return result, snapshot.server["consensus/logits"]


@pytest.mark.parametrize("stage", ["advertise", "share", "mask", "unmask"])
def test_the_teacher_is_that_of_a_plain_run_over_the_same_survivors(
    small_config: MakeConfig, tmp_path: Path, stage: str
) -> None:
    sections: dict[str, Any] = {"run": {"rounds": 1, "seed": 5}}
    clients = {"number": 8, "models": ["mlp", "cnn"], "dropout_rate": 0.2}
    secure, masked_NC = last_teacher(
        small_config(**sections, clients=clients, secure_aggregation=SECURE | {"dropout_stage": stage}), tmp_path / "a"
    )
    if stage == "unmask":  # who is missing there has given its vector already
        clients |= {"dropout_rate": 0.0}
    plain, plain_NC = last_teacher(small_config(**sections, clients=clients), tmp_path / "b")
    (ours,), (theirs,) = secure.history, plain.history
    assert ours.secure_sum is not None
    assert ours.replied == theirs.replied
    assert 0 < len(ours.secure_sum.dropped[stage]) < 4
    assert np.abs(masked_NC - plain_NC).max() < ours.secure_sum.resolution
    assert ours.clients.mean_accuracy == pytest.approx(theirs.clients.mean_accuracy, abs=1e-12)
    assert ours.train_loss == pytest.approx(theirs.train_loss, abs=1e-3)
    assert ours.clipped_fraction == pytest.approx(theirs.clipped_fraction, abs=1e-12)
    assert ours.ensemble_teacher.accuracy == pytest.approx(theirs.ensemble_teacher.accuracy, abs=0.011)


@pytest.mark.parametrize(
    ("aggregator", "tolerance"), [("mean_probabilities", 1e-3), ("confidence_weighted", 0.2), ("mean_logits", 2e-3)]
)
def test_every_mean_is_summed_up(small_config: MakeConfig, tmp_path: Path, aggregator: str, tolerance: float) -> None:
    """Tolerances: one step of 2^-16 of the range; confidences are rounded to 8 bits, which moves a mean further."""
    method = {"name": "fkd", "aggregator": aggregator}
    run = {"rounds": 1}
    _, masked_NC = last_teacher(small_config(method=method, run=run, secure_aggregation=SECURE), tmp_path / "a")
    _, plain_NC = last_teacher(small_config(method=method, run=run), tmp_path / "b")
    if aggregator == "mean_probabilities":
        masked_NC, plain_NC = np.exp(masked_NC), np.exp(plain_NC)
    np.testing.assert_allclose(masked_NC, plain_NC, atol=tolerance)


def test_nothing_in_a_record_is_of_one_client_alone(small_config: MakeConfig) -> None:
    (record,) = simulate(small_config(run={"rounds": 1}, secure_aggregation=SECURE), Observer()).history
    assert record.clients.worst_accuracy is None
    assert record.clients.mean_accuracy is not None
    assert record.seconds.local_training == record.seconds.public_inference == 0
    assert record.secure_sum is not None
    assert list(record.secure_sum.bytes_up) == ["advertise", "share", "mask", "unmask"]
    assert record.secure_sum.survivors == (0, 1, 2, 3)


def test_soft_labels_travel_as_well(small_config: MakeConfig, tmp_path: Path) -> None:
    sections = {"method": {"name": "fedmd"}, "clients": {"number": 4, "models": ["mlp", "cnn"]}}
    secure, _ = last_teacher(small_config(**sections, secure_aggregation=SECURE), tmp_path / "a")
    assert secure.student is None
    assert [record.completed for record in secure.history] == [True, True]


def test_below_the_threshold_the_old_student_stays(small_config: MakeConfig) -> None:
    config = small_config(
        run={"rounds": 6, "seed": 1},
        clients={"number": 4, "models": ["mlp"], "dropout_rate": 0.45},
        secure_aggregation=SECURE,
    )
    history = simulate(config, Observer()).history
    failed = [record for record in history if not record.completed]
    assert 0 < len(failed) < len(history)
    for record in failed:
        assert record.secure_sum is not None
        assert record.secure_sum.failure.startswith("BelowThresholdError: ")
        assert record.replied == ()
        assert record.refused[-1].client is None
        before = [each.student for each in history[: record.server_round - 1]]
        assert not before or record.student == before[-1]


def test_a_run_without_any_sum_says_why(small_config: MakeConfig) -> None:
    config = small_config(clients={"number": 4, "dropout_rate": 0.99}, secure_aggregation=SECURE)
    with pytest.raises(RoundError, match="BelowThresholdError"):
        simulate(config, Observer())


@pytest.mark.parametrize("stage", ["query.secure", "train"])
def test_an_answer_that_was_changed_is_refused_and_named(
    small_config: MakeConfig, run_tampered: Callable[..., FederationResult], stage: str
) -> None:
    config = small_config(run={"rounds": 1}, clients={"number": 5}, secure_aggregation=SECURE)

    def tamper(client: int, reply: Message) -> Message:
        if client == 2:
            record = reply.content.config_records["secure_aggregation"]
            message = answer_from_records(reply.content).message
            record["message"] = message[: len(message) // 2]
        return reply

    (record,) = run_tampered(config, tamper, message_type=stage).history
    assert record.completed
    assert record.replied == (0, 1, 3, 4)
    (refusal,) = record.refused
    assert (refusal.client, refusal.reason) == (2, "secure_aggregation")
    assert refusal.detail.startswith("MalformedMessageError")


def test_a_client_sends_no_answer_that_is_not_masked(small_config: MakeConfig) -> None:
    config = small_config(secure_aggregation=SECURE)
    grid = LocalGrid(client_app, config.clients.number, {EXPERIMENT_KEY: config.model_dump_json()})
    instruction = TrainInstruction(1, np.arange(60, dtype=np.int32), None, None, evaluate=True)
    with task_identity(run_id=1, node_id=0):
        (reply,) = grid.send_and_receive([Message(instruction_to_records(instruction), 1, TRAIN)])
    assert reply.has_error()
    assert "under secure aggregation only" in reply.error.reason


def test_the_same_on_ray(small_config: MakeConfig, tmp_path: Path, ray_on_this_machine: None) -> None:
    sections = {"run": {"rounds": 1}, "clients": {"number": 5, "models": ["mlp", "cnn"]}}
    _, masked_NC = last_teacher(
        small_config(**sections | {"run": {"rounds": 1, "engine": "ray"}}, secure_aggregation=SECURE), tmp_path / "a"
    )
    _, plain_NC = last_teacher(small_config(**sections), tmp_path / "b")
    assert np.abs(masked_NC - plain_NC).max() < 2 * 30 / (2**16 - 1)


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"method": {"name": "feddf"}}, "whose weights travel"),
        ({"method": {"name": "fedavg"}}, "whose weights travel"),
        ({"method": {"name": "fkd", "aggregator": "median_logits"}}, "'median_logits'"),
        ({"payload": {"encoding": "int8"}}, "payload.encoding"),
        ({"payload": {"clip": False}}, "payload.clip"),
        ({"secure_aggregation": {"enabled": True, "minimum_cohort": 5}}, "at most clients.number"),
        ({"secure_aggregation": {"enabled": True, "value_bits": 31}}, "at least 33"),
    ],
)
def test_what_cannot_be_summed_unseen_is_refused_by_name(
    small_config: MakeConfig, sections: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        small_config(**{"secure_aggregation": SECURE} | sections)
