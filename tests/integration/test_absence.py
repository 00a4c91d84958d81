"""Clients that are drawn and do not deliver: seeded drop-outs and stragglers, deadlines, too few replies."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Message

from fedkd.config.experiment import ExperimentConfig
from fedkd.engines import LocalGrid
from fedkd.engines.absence import app as client_app
from fedkd.engines.absence import simulated_absence
from fedkd.engines.simulation import run_apps, simulate
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.flower.app_bundle import EXPERIMENT_KEY
from fedkd.flower.internals import unpack_records
from fedkd.secure_aggregation import ClientState
from fedkd.secure_aggregation.client_state import Secrets


def test_rates_of_absence_are_those_asked_for(small_config: Callable[..., ExperimentConfig]) -> None:
    config = small_config(clients={"dropout_rate": 0.2, "straggler_rate": 0.1})
    kinds = [simulated_absence(config, client, server_round) for client in range(100) for server_round in range(1, 41)]
    # 4,000 draws: three standard deviations of a share are 0.019 and 0.014
    assert kinds.count("dropped") / 4000 == pytest.approx(0.2, abs=0.019)
    assert kinds.count("late") / 4000 == pytest.approx(0.1, abs=0.014)


def test_every_drawn_client_replies_or_is_dropped_or_late(small_config: Callable[..., ExperimentConfig]) -> None:
    config = small_config(run={"rounds": 4}, clients={"dropout_rate": 0.3, "straggler_rate": 0.3})
    history = simulate(config, Observer()).history
    for record in history:
        assert sorted(record.replied + record.dropped + record.late) == list(record.selected)
        for client in record.selected:
            kind = simulated_absence(config, client, record.server_round)
            expected = {"dropped": record.dropped, "late": record.late, None: record.replied}[kind]
            assert client in expected
    assert any(record.dropped for record in history)
    assert any(record.late for record in history)


def test_too_few_replies_keep_the_old_student(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    """Round 2 loses two of four replies; with min_replies = 3 its student is that of round 1."""
    config = small_config(clients={"min_replies": 3})

    def tamper(client: int, reply: Message) -> Message | None:
        return None if reply.metadata.group_id == "2" and client < 2 else reply

    result = run_tampered(config, tamper)
    first, second = result.history
    assert (first.completed, second.completed) == (True, False)
    assert second.late == (0, 1)
    assert second.distillation is None
    assert second.student == first.student
    one_round = run_tampered(small_config(run={"rounds": 1}, clients={"min_replies": 3}), tamper)
    assert one_round.student is not None
    assert result.student is not None
    for key, weights in one_round.student.items():
        np.testing.assert_array_equal(result.student[key], weights)


def test_a_deadline_reaches_slow_clients(small_config: Callable[..., ExperimentConfig]) -> None:
    """No client can train in a nanosecond, so nobody even introduces itself in time."""
    from fedkd.errors import RoundError

    with pytest.raises(RoundError, match="0 clients can take part"):
        simulate(small_config(clients={"deadline": 1e-9}), Observer())


def test_a_client_that_was_absent_catches_up(small_config: Callable[..., ExperimentConfig]) -> None:
    """Half of the clients are drawn for each round; over four rounds, drawn ones are not always the same."""
    config = small_config(run={"rounds": 4}, clients={"fraction_train": 0.5}, method={"name": "fedmd"})
    history = simulate(config, Observer()).history
    assert {len(record.selected) for record in history} == {2}
    assert len({record.selected for record in history}) > 1


@pytest.mark.parametrize("stage", ["share", "mask", "unmask"])
def test_a_client_that_drops_out_of_a_sum_keeps_no_secret_of_it(
    small_config: Callable[..., ExperimentConfig], stage: str
) -> None:
    config = small_config(
        run={"rounds": 1, "seed": 5},
        clients={"number": 8, "models": ["mlp"], "dropout_rate": 0.2},
        secure_aggregation={"enabled": True, "dropout_stage": stage},
    )
    grid = LocalGrid(client_app, 8, {EXPERIMENT_KEY: config.model_dump_json()})
    (record,) = run_apps(grid, config, Observer()).history
    assert record.secure_sum is not None
    assert record.secure_sum.dropped[stage]
    kept = {client: unpack_records(packed) for client, packed in grid.take_changed_states()}
    for client in record.secure_sum.dropped[stage]:
        state = ClientState.from_bytes(kept[client].config_records["secure_aggregation"]["kept"])
        assert state == ClientState(stage=state.stage, memory=state.memory, secrets=Secrets())
