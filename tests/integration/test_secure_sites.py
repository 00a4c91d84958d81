"""Secure aggregation over Flower's SuperLink: sites that are killed in a round leave a right sum, or none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Message

from fedkd.config import ExperimentConfig, load_config
from fedkd.experiment import read_run
from fedkd.federation.bundle import write_app
from fedkd.federation.client_app import EXPERIMENT_KEY
from fedkd.federation.client_app import app as client_app
from fedkd.federation.engines import LocalGrid
from fedkd.federation.messages import TRAIN, TrainReply, reply_from_records
from fedkd.federation.observers import Observer
from fedkd.federation.simulation import run_apps
from fedkd.federation.site.export import export

pytestmark = pytest.mark.slow

MakeConfig = Callable[..., ExperimentConfig]


class Listening(LocalGrid):
    """A local grid on which every client's loss is heard."""

    def __init__(self, config: ExperimentConfig) -> None:
        super().__init__(client_app, config.clients.number, {EXPERIMENT_KEY: config.model_dump_json()})
        self.losses: dict[int, float] = {}

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        for reply in super().send_and_receive(messages, timeout=timeout):
            if reply.metadata.message_type == TRAIN:
                answer = reply_from_records(reply.content)
                assert isinstance(answer, TrainReply)
                self.losses[answer.client] = answer.metrics.train_loss
            yield reply


def test_sites_are_killed_at_three_stages(
    small_config: MakeConfig, start_loopback: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Of four sites one is killed before it sends its masked vector, one after that, then one too many."""
    clients = {"number": 4, "models": ["mlp"], "min_train_nodes": 1, "deadline": 20.0, "join_timeout": 120.0}
    simulated = small_config(run={"rounds": 1}, clients=clients)
    plain = Listening(simulated)
    run_apps(plain, simulated, Observer())

    trial = export(simulated, tmp_path / "trial").parent
    changes = [f"run.output={tmp_path}", "run.name=masked", "run.rounds=3"]
    changes += ["secure_aggregation.enabled=true", "secure_aggregation.minimum_cohort=2"]
    deployed = load_config(trial / "experiment.toml", changes)
    write_app(tmp_path / "app")
    loopback = start_loopback(tmp_path)
    sites = [loopback.site(client) for client in range(4)]
    run = loopback.submit(tmp_path / "app", deployed)
    for client, released, server_round in (
        (1, "key agreement (share)", 1),
        (2, "masked logits", 2),
        (3, "key agreement (share)", 3),
    ):
        loopback.wait_for(client, released, server_round, seconds=300)
        sites[client].kill()
        sites[client].wait()  # else it is there for its SuperNode, which ends with it
    log, _ = run.communicate(timeout=300)

    first, second, third = read_run(tmp_path / "masked")[1].history
    assert first.replied == (0, 2, 3), log
    assert set(first.secure_sum.dropped.items()) <= {("share", (1,)), ("mask", (1,))}  # its shares may have come yet
    survivors = [plain.losses[client] for client in first.replied]
    assert first.train_loss == pytest.approx(sum(survivors) / 3, abs=1e-3)
    assert second.replied == (0, 2, 3)
    assert second.secure_sum.dropped["unmask"] == (2,)  # its vector is in the sum
    assert not third.completed
    assert third.secure_sum.failure.startswith("BelowThresholdError")
    assert third.student == second.student
