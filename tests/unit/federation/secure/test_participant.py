"""A client under secure aggregation: what it refuses to mask, and what it keeps afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Message

from fedkd.config.experiment import ExperimentConfig
from fedkd.federation.messages import instruction_from_records, instruction_to_records
from fedkd.federation.secure.messages import SECURE, answer_from_records
from fedkd.flower.internals import unpack_records
from fedkd.secure_aggregation import ClientState
from fedkd.secure_aggregation.client_state import Secrets

Make = Callable[..., ExperimentConfig]
MASKED = {"enabled": True, "minimum_cohort": 2}
ODD_ONE = 2


def state_of(grid: Any, client: int) -> ClientState:
    """What a client remembers of secure aggregation."""
    kept = unpack_records(grid.states()[client])
    return ClientState.from_bytes(kept.config_records["secure_aggregation"]["kept"])


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_logits_that_are_not_finite_are_refused_and_not_clipped(make_config: Make, federate: Any, value: float) -> None:
    def answer(client: int, logits_NC: torch.Tensor) -> torch.Tensor:
        return logits_NC.index_fill(1, torch.tensor([3]), value) if client == ODD_ONE else logits_NC

    config = make_config(run={"evaluate_clients_every": 0}, secure_aggregation=MASKED)
    result, grid = federate(config, answer=answer)
    (record,) = result.history
    assert record.replied == (0, 1, 3)
    (refusal,) = record.refused
    assert refusal.client == ODD_ONE
    assert "NaN or infinity" in refusal.detail
    assert state_of(grid, ODD_ONE).secrets == Secrets()


def test_an_instruction_that_is_not_the_one_announced_is_refused(make_config: Make, federate: Any) -> None:
    """A server that asks one client for other public samples than the others could read its answers from the sum."""

    def change(client: int, message: Message) -> Message:
        if client == ODD_ONE and message.metadata.message_type == "train":
            instruction = instruction_from_records(message.content)
            fewer = replace(instruction, asked_N=instruction.asked_N[:-1].copy())
            message.content.update(instruction_to_records(fewer))
        return message

    result, grid = federate(make_config(secure_aggregation=MASKED), to_client=change)
    (record,) = result.history
    assert record.replied == (0, 1, 3)
    (refusal,) = record.refused
    assert refusal.client == ODD_ONE
    assert "not the one announced" in refusal.detail
    assert state_of(grid, ODD_ONE).secrets == Secrets()


def test_keys_of_the_next_round_come_with_the_last_answer_but_not_in_the_last_round(
    make_config: Make, federate: Any
) -> None:
    grid = federate(make_config(run={"rounds": 3}, secure_aggregation=MASKED)).grid
    for server_round, ahead in ((1, True), (2, True), (3, False)):
        answers = [answer_from_records(reply.content) for reply in grid.replied(server_round, SECURE).values()]
        assert [bool(answer.advertisement) for answer in answers] == [ahead] * 4
    for client in range(4):
        assert state_of(grid, client).secrets == Secrets()


def test_a_client_trains_its_own_model_as_in_a_plain_round(make_config: Make, federate: Any) -> None:
    """Without an epoch of learning from the teacher, which is rounded where masked, the kept models are the same."""
    sections = {"run": {"rounds": 2}, "method": {"name": "fedmd", "local_distillation": {"epochs": 0}}}
    plain, masked = (
        federate(make_config(**sections, secure_aggregation=secure)).grid.states() for secure in ({}, MASKED)
    )
    for client in range(4):
        ours, theirs = (unpack_records(states[client]).array_records for states in (masked, plain))
        assert ours
        assert ours == theirs


def test_clipping_is_the_same_as_in_a_plain_round(make_config: Make, federate: Any, payloads: Any) -> None:
    """Answers of ±1000 count as ±clipping_range: the teacher is within a level of that of a plain round."""

    def answer(client: int, logits_NC: torch.Tensor) -> torch.Tensor:
        return torch.sign(logits_NC) * (1000.0 if client == ODD_ONE else 1.0)

    teachers = []
    for secure in ({}, MASKED):
        config = make_config(run={"rounds": 2}, method={"name": "fedmd"}, secure_aggregation=secure)
        grid = federate(config, answer=answer).grid
        teachers.append(payloads.teacher(grid.asked(2)[0])[1])
    plain_NC, masked_NC = teachers
    np.testing.assert_allclose(masked_NC, plain_NC, atol=2 * 30 / (2**16 - 1))
    assert np.abs(plain_NC).max() == pytest.approx((30 + 3) / 4)
