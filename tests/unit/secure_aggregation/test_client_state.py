"""What a client keeps: it passes through bytes at every stage, holds no secret longer than needed, and is checked."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkd.secure_aggregation import ClientState, ServerStage, Session, Stage, errors
from fedkd.secure_aggregation.client_state import Memory, Secrets

STAGES = list(ServerStage)[1:6]


def test_state_passes_through_bytes_at_every_stage(make_round):
    for stage in STAGES:
        running = make_round(4, trust="active")
        running.run(until=stage)
        state = running.clients[3].state
        assert ClientState.from_bytes(state.to_bytes()) == state


def test_secrets_are_gone_once_they_are_used(make_round):
    running = make_round(4)
    running.run(until=ServerStage.SHARES)
    advertised = running.clients[3].state.secrets
    assert advertised.mask_private
    assert advertised.share_private
    running.resume_to(ServerStage.MASKED_INPUTS)
    shared = running.clients[3].state.secrets
    assert (shared.mask_private, shared.share_private) == (advertised.mask_private, b"")
    assert list(shared.shares) == [3]
    running.resume_to(ServerStage.UNMASKING_SHARES)
    masked = running.clients[3].state
    assert masked.secrets == Secrets(shares=masked.secrets.shares)
    assert list(masked.secrets.shares) == [3, 10, 17, 24]
    running.resume()
    memory = Memory(Session("run", 1), frozenset(running.ids))
    assert running.clients[3].state == ClientState(stage=Stage.DONE, memory=memory)
    for secret in (advertised.mask_private, advertised.share_private, shared.self_seed):
        assert secret.hex().encode() not in running.clients[3].state.to_bytes()


def test_state_without_parameters_is_refused_when_they_are_needed(make_round):
    running = make_round(4)
    running.run(until=ServerStage.MASKED_INPUTS)
    running.clients[3] = running.make_client(3, replace(running.clients[3].state, parameters=None))
    with pytest.raises(errors.StateError, match="kept no parameters"):
        running.answer(ServerStage.MASKED_INPUTS, 3, running.requests[ServerStage.MASKED_INPUTS][3])


@pytest.mark.parametrize(
    "damage",
    [
        {"version": 1},
        {"stage": "dreaming"},
        {"transcript": "xyz"},
        {"memory": 3},
        {"parameters": "00"},
        {"secrets": {}},
        {"members": ["x"]},
        {"session": []},
        {"own_keys": ["00"]},
    ],
)
def test_damaged_state_is_refused(damage):
    written = json.loads(ClientState().to_bytes())
    with pytest.raises(errors.StateError, match="cannot be read"):
        ClientState.from_bytes(json.dumps(written | damage).encode())


@settings(max_examples=40)
@given(st.binary() | st.recursive(st.none() | st.integers(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_any_other_bytes_are_refused(data):
    with pytest.raises(errors.StateError):
        ClientState.from_bytes(data)
