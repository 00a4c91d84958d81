"""Every parser answers any bytes with a message or a typed error; what it accepts, it writes back the same."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedkd.errors import SecureAggregationError
from fedkd.secure_aggregation import ServerStage, Stage, errors
from fedkd.secure_aggregation.messages import (
    Advertisement,
    AdvertiseRequest,
    Confirmation,
    ConfirmRequest,
    MaskedInput,
    MaskRequest,
    ShareRequest,
    Shares,
    UnmaskingShares,
    UnmaskRequest,
)
from fedkd.secure_aggregation.wire import MAX_CLIENTS, Reader, header

REQUESTS = {
    ServerStage.ADVERTISEMENTS: AdvertiseRequest,
    ServerStage.SHARES: ShareRequest,
    ServerStage.MASKED_INPUTS: MaskRequest,
    ServerStage.CONFIRMATIONS: ConfirmRequest,
    ServerStage.UNMASKING_SHARES: UnmaskRequest,
}
REPLIES = {
    ServerStage.ADVERTISEMENTS: Advertisement,
    ServerStage.SHARES: Shares,
    ServerStage.MASKED_INPUTS: MaskedInput,
    ServerStage.CONFIRMATIONS: Confirmation,
    ServerStage.UNMASKING_SHARES: UnmaskingShares,
}
ALL = [(kind, "request", stage) for stage, kind in REQUESTS.items()] + [
    (kind, "reply", stage) for stage, kind in REPLIES.items()
]
KINDS = pytest.mark.parametrize(("kind", "way", "stage"), ALL, ids=[kind.__name__ for kind, _, _ in ALL])


@pytest.fixture(scope="module")
def recorded(make_round):
    """A round in which everything was said once."""
    running = make_round(4, trust="active")
    running.run({ServerStage.MASKED_INPUTS: {24}})
    return running


def true_message(recorded, way, stage):
    return (recorded.requests if way == "request" else recorded.replies)[stage][3]


def read_and_write(recorded, kind, data):
    session = recorded.parameters.session
    if kind is MaskedInput:
        return kind.read(data, recorded.parameters).to_bytes(recorded.parameters)
    return kind.read(data, session).to_bytes(session)


@KINDS
def test_true_message_is_read_and_written_back(recorded, kind, way, stage):
    data = true_message(recorded, way, stage)
    assert read_and_write(recorded, kind, data) == data


@KINDS
def test_every_shorter_or_longer_message_is_refused(recorded, kind, way, stage):
    data = true_message(recorded, way, stage)
    for forged in [*(data[:end] for end in range(len(data))), data + b"\0"]:
        with pytest.raises(errors.MalformedMessageError):
            read_and_write(recorded, kind, forged)


@KINDS
@given(data=st.data())
@settings(max_examples=60)
def test_altered_message_is_read_alike_or_refused(recorded, kind, way, stage, data):
    true = true_message(recorded, way, stage)
    start = len(header(1, recorded.parameters.session)) if data.draw(st.booleans(), "keep the header") else 0
    at = data.draw(st.integers(start, len(true)), "at")
    removed = data.draw(st.integers(0, 8), "removed")
    forged = true[:at] + data.draw(st.binary(max_size=8), "inserted") + true[at + removed :]
    try:
        assert read_and_write(recorded, kind, forged) == forged
    except SecureAggregationError:
        assert forged != true


@KINDS
@given(body=st.binary(max_size=200))
@settings(max_examples=30)
def test_any_body_is_read_alike_or_refused(recorded, kind, way, stage, body):
    data = true_message(recorded, way, stage)[: len(header(1, recorded.parameters.session))] + body
    with contextlib.suppress(SecureAggregationError):
        assert read_and_write(recorded, kind, data) == data


@pytest.mark.parametrize("stage", list(REQUESTS))
@given(forged=st.binary(max_size=60))
@settings(max_examples=15)
def test_client_answers_any_bytes_with_a_typed_error_and_forgets(recorded, make_round, stage, forged):
    fresh = make_round(3, trust="active")
    fresh.run(until=stage)
    with pytest.raises(errors.MalformedMessageError):
        fresh.answer(stage, 3, forged)
    assert fresh.clients[3].stage is Stage.ABORTED


@KINDS
def test_message_of_another_kind_is_refused(recorded, kind, way, stage):
    for other, its_way, its_stage in ALL:
        if other is not kind:
            with pytest.raises(errors.MalformedMessageError, match="kind"):
                read_and_write(recorded, kind, true_message(recorded, its_way, its_stage))


def test_other_magic_or_version_is_refused(recorded):
    data = true_message(recorded, "reply", ServerStage.SHARES)
    for at in (0, 4):
        with pytest.raises(errors.MalformedMessageError, match="message starts with"):
            read_and_write(recorded, Shares, bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]]))


def test_announced_lengths_are_bounded_before_anything_is_allocated():
    with pytest.raises(errors.MalformedMessageError, match="announces 1048577 entries"):
        Reader((MAX_CLIENTS + 1).to_bytes(4, "little")).ids()


def test_counts_that_disagree_are_refused(recorded):
    session = recorded.parameters.session
    with pytest.raises(errors.MalformedMessageError, match="0 sealed shares of 1 senders"):
        MaskRequest.read(MaskRequest((3,), (10,), ()).to_bytes(session), session)
    with pytest.raises(errors.MalformedMessageError, match="0 signatures of 1 signers"):
        UnmaskRequest.read(UnmaskRequest((3,), (), (10,), ()).to_bytes(session), session)
