"""Federations under secure aggregation: the teacher of a plain run, to within the resolution; nothing of one client."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from fedkd.config.experiment import ExperimentConfig
from fedkd.engines import LocalGrid
from fedkd.engines.absence import app as client_app
from fedkd.engines.simulation import run_apps, simulate
from fedkd.errors import ConfigError, RoundError
from fedkd.federation.checkpoints import Checkpoints
from fedkd.federation.messages import TRAIN, TrainInstruction, instruction_to_records, reply_from_records
from fedkd.federation.observers import Observer
from fedkd.federation.secure.identities import identity_path, make_identities
from fedkd.federation.secure.messages import answer_from_records
from fedkd.federation.server_app import FederationResult
from fedkd.flower.app_bundle import EXPERIMENT_KEY
from fedkd.flower.internals import task_identity
from fedkd.records import Refusal, RoundRecord, SecureSum
from fedkd.storage.snapshots import SnapshotStore

MakeConfig = Callable[..., ExperimentConfig]
SECURE = {"enabled": True, "minimum_cohort": 2}
STUDENT = {"model": "mlp", "epochs": 2}


def sum_of(record: RoundRecord) -> SecureSum:
    assert record.secure_sum is not None
    return record.secure_sum


def last_teacher(config: ExperimentConfig, folder: Path) -> tuple[FederationResult, np.ndarray]:
    """The result, and the teacher's logits of the last round, as the server keeps them."""
    store = SnapshotStore(folder)
    result = simulate(config, Observer(), Checkpoints(store))
    snapshot = store.read_latest()
    assert snapshot is not None
    return result, snapshot.server["told/all/values"]


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


def test_keys_of_the_next_round_spare_an_exchange(small_config: MakeConfig, tmp_path: Path) -> None:
    with_early, early_NC = last_teacher(small_config(secure_aggregation=SECURE), tmp_path / "a")
    without, plain_NC = last_teacher(small_config(secure_aggregation=SECURE | {"early_keys": False}), tmp_path / "b")
    sent = [[sum_of(record).bytes_down["advertise"] > 0 for record in run.history] for run in (with_early, without)]
    assert sent == [[True, False], [True, True]]
    first, second = map(sum_of, with_early.history)
    assert first.bytes_up["unmask"] > sum_of(without.history[0]).bytes_up["unmask"]
    assert second.survivors == (0, 1, 2, 3)
    assert np.isfinite(early_NC).all()
    assert early_NC.shape == plain_NC.shape


def test_who_was_not_there_is_asked_for_its_keys(small_config: MakeConfig) -> None:
    """A client that dropped out, or was not drawn, has sent no keys ahead; the others are spared the exchange."""
    clients = {"number": 8, "dropout_rate": 0.2}
    config = small_config(run={"rounds": 4, "seed": 5}, clients=clients, secure_aggregation=SECURE)
    history = simulate(config, Observer()).history
    assert any(record.dropped for record in history[:-1])
    per_request = sum_of(history[0]).bytes_down["advertise"] / 8
    for before, record in itertools.pairwise(history):
        ahead = set(before.replied)
        asked = sum_of(record).bytes_down["advertise"] / per_request
        assert asked == pytest.approx(8 - len(ahead), abs=0.1)
        assert record.completed


def test_early_keys_that_were_changed_are_refused(
    small_config: MakeConfig, run_tampered: Callable[..., FederationResult]
) -> None:
    config = small_config(clients={"number": 5}, secure_aggregation=SECURE)

    def tamper(client: int, reply: Message) -> Message:
        record = reply.content.config_records["secure_aggregation"]
        if client == 3 and (advertisement := record["advertisement"]):
            record["advertisement"] = advertisement[:-1]
        return reply

    first, second = run_tampered(config, tamper, message_type="query.secure").history
    assert first.replied == (0, 1, 2, 3, 4)
    assert second.replied == (0, 1, 2, 4)
    assert [(each.client, each.detail.split(":")[0]) for each in second.refused] == [(3, "MalformedMessageError")]
    assert sum_of(second).dropped == {"advertise": (3,)}


@pytest.mark.parametrize("stage", ["mask", "confirm"])
def test_clients_defend_against_an_active_server(small_config: MakeConfig, tmp_path: Path, stage: str) -> None:
    make_identities(tmp_path / "identities", range(8))
    active = SECURE | {"trust": "active", "identities": str(tmp_path / "identities"), "dropout_stage": stage}
    clients = {"number": 8, "dropout_rate": 0.1}
    config = small_config(run={"seed": 5, "rounds": 3}, clients=clients, secure_aggregation=active)
    result, masked_NC = last_teacher(config, tmp_path / "a")
    for record in result.history:
        assert list(sum_of(record).bytes_up) == ["advertise", "share", "mask", "confirm", "unmask"]
        assert record.completed
    assert any(stage in sum_of(record).dropped for record in result.history)
    assert np.isfinite(masked_NC).all()


def test_a_client_with_another_identity_than_the_rosters_is_out(small_config: MakeConfig, tmp_path: Path) -> None:
    make_identities(tmp_path, range(5))
    identity_path(tmp_path, 2).unlink()
    make_identities(tmp_path / "elsewhere", [2])
    identity_path(tmp_path / "elsewhere", 2).rename(identity_path(tmp_path, 2))
    active = SECURE | {"trust": "active", "identities": str(tmp_path)}
    config = small_config(run={"rounds": 1}, clients={"number": 5}, secure_aggregation=active)
    refusals: list[Refusal] = []

    class Joining(Observer):
        def on_clients(self, clients: Sequence[int], refused: Sequence[Refusal]) -> None:
            assert list(clients) == [0, 1, 3, 4]
            refusals.extend(refused)

    (record,) = simulate(config, Joining()).history
    assert record.replied == (0, 1, 3, 4)
    (refusal,) = refusals
    assert "the private key of client 2" in refusal.detail


def test_robust_rules_compare_the_means_of_groups(small_config: MakeConfig, tmp_path: Path) -> None:
    sections: dict[str, Any] = {
        "run": {"rounds": 1},
        "clients": {"number": 10, "models": ["mlp"]},
        "data": {"train_size": 300},
        "method": {"aggregator": "median_logits"},
    }
    grouped = {"enabled": True, "group_size": 3}
    result, masked_NC = last_teacher(small_config(**sections, secure_aggregation=grouped), tmp_path / "a")
    (record,) = result.history
    groups = sum_of(record).groups
    assert sorted(map(len, groups)) == [3, 3, 4]
    assert sorted(client for group in groups for client in group) == list(range(10))

    heard: dict[int, np.ndarray] = {}

    class Listening(LocalGrid):
        def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
            for reply in super().send_and_receive(messages, timeout=timeout):
                if reply.metadata.message_type == TRAIN:
                    answer = reply_from_records(reply.content)
                    heard[answer.client] = answer.rows["values"]
                yield reply

    plain = small_config(**sections)
    run_apps(Listening(client_app, 10, {EXPERIMENT_KEY: plain.model_dump_json()}), plain, Observer())
    means = [np.mean([heard[client] for client in group], axis=0, dtype=np.float64) for group in groups]
    assert np.abs(masked_NC - np.median(means, axis=0)).max() < sum_of(record).resolution


def test_a_group_that_fails_leaves_the_others_or_nothing(small_config: MakeConfig) -> None:
    config = small_config(
        run={"rounds": 6, "seed": 3},
        data={"train_size": 400},
        clients={"number": 12, "models": ["mlp"], "dropout_rate": 0.25, "min_train_nodes": 12},
        method={"aggregator": "median_logits"},
        secure_aggregation={"enabled": True, "group_size": 3},
    )
    history = simulate(config, Observer()).history
    fewer = [record for record in history if record.completed and len(sum_of(record).groups) < 4]
    failed = [record for record in history if not record.completed]
    assert fewer
    assert failed
    for record in fewer:
        assert record.refused[0].detail.startswith("a group: BelowThresholdError")
        assert record.replied == tuple(sorted(client for group in sum_of(record).groups for client in group))
    for record in failed:
        assert sum_of(record).failure.endswith("groups with a sum; a comparison needs 3")


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
        ({"method": {"name": "feddf"}}, "its weights travel"),
        ({"method": {"name": "fedavg"}}, "its weights travel"),
        ({"method": {"name": "fkd", "aggregator": "median_logits"}}, "looks at each client"),
        ({"payload": {"encoding": "int8"}}, "payload.encoding"),
        ({"payload": {"clip": False}}, "have no bound"),
        ({"secure_aggregation": {"enabled": True, "minimum_cohort": 5}}, "at most clients.number"),
        ({"secure_aggregation": {"enabled": True, "value_bits": 31}}, "at least 33"),
        ({"secure_aggregation": SECURE | {"trust": "active"}}, "a folder where trust is active"),
        ({"secure_aggregation": SECURE | {"dropout_stage": "confirm"}}, "another stage where trust is not active"),
        ({"secure_aggregation": SECURE | {"group_size": 2}}, "0 with MeanLogits"),
        (
            {"secure_aggregation": SECURE | {"group_size": 2}, "method": {"aggregator": "median_logits"}},
            "which is 2, to 1",
        ),
    ],
)
def test_what_cannot_be_summed_unseen_is_refused_by_name(
    small_config: MakeConfig, sections: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        small_config(**{"secure_aggregation": SECURE} | sections)
