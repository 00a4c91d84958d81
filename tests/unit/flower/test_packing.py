"""A packed message is unpacked to what it was; a hostile one is an error of its sender."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.superlink.grid.http_grid import get_all_nested_objects

from fedkd.errors import PayloadError
from fedkd.federation.client_app import build_client_app
from fedkd.flower import packing
from fedkd.flower.internals import pack_records, task_identity
from fedkd.flower.packing import PackedRecords, is_packed, pack_message, unpack_message

HEADER = ConfigRecord({"server_round": 3, "message": b"\x00\xff"})
ARRAYS = ArrayRecord({f"layer{i}": Array(np.arange(6, dtype=np.float32).reshape(2, 3) + i) for i in range(6)})
CONTENT = RecordDict({"header": HEADER, "weights": ARRAYS, "metrics": MetricRecord({"loss": 0.5})})


@pytest.fixture(autouse=True)
def identity() -> Iterator[None]:
    with task_identity(1, 1):
        yield


def message(content: RecordDict) -> Message:
    return Message(content, 5, "train", group_id="3")


def piece(packed: bytes) -> ConfigRecord:
    return ConfigRecord({"records": packed})


def test_a_message_is_unpacked_to_what_was_packed() -> None:
    sent = message(CONTENT)
    received = unpack_message(pack_message(sent))
    assert received.content == CONTENT
    assert received.metadata is sent.metadata
    np.testing.assert_array_equal(received.content.array_records["weights"]["layer5"].numpy(), ARRAYS["layer5"].numpy())


def test_it_is_one_object_however_many_arrays_there_are() -> None:
    """Message, records, header and the packed piece; each costs Flower a request."""
    assert len(get_all_nested_objects(message(CONTENT))) == 2 + 1 + 1 + 1 + 2 * len(ARRAYS)
    assert len(get_all_nested_objects(pack_message(message(CONTENT)))) == 4


def test_clients_that_get_the_same_arrays_get_the_same_pieces() -> None:
    """One in memory, and by its identifier one at the SuperLink."""
    made = PackedRecords()
    instructions = [RecordDict({**CONTENT, "header": ConfigRecord({"client": client})}) for client in (1, 2)]
    instructions.append(RecordDict({"header": HEADER, "weights": ARRAYS}))
    one, other, less = (pack_message(message(content), made) for content in instructions)
    assert one.content["packed-0"] is other.content["packed-0"]
    assert one.content["packed-0"].object_id == pack_message(message(CONTENT)).content["packed-0"].object_id
    assert [unpack_message(each).content for each in (one, other, less)] == instructions


def test_a_large_one_is_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_PIECE", 64)
    sent = pack_message(message(CONTENT))
    packed = pack_records(RecordDict({name: CONTENT[name] for name in ("weights", "metrics")}))
    assert len(sent.content) == 1 + -(-len(packed) // 64)
    assert len(sent.content) > 12
    assert unpack_message(sent).content == CONTENT


def test_one_that_is_too_large_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_PIECE", 64)
    monkeypatch.setattr(packing, "_MOST_PIECES", 3)
    sent = message(CONTENT)
    assert pack_message(sent) is sent


@pytest.mark.parametrize("content", [RecordDict(), RecordDict({"header": HEADER})])
def test_configuration_alone_needs_none(content: RecordDict) -> None:
    sent = message(content)
    assert pack_message(sent) is sent
    assert unpack_message(sent) is sent
    assert not is_packed(sent)


def test_an_error_is_left_alone() -> None:
    failed = Message(Error(1, "no"), reply_to=message(CONTENT))
    assert pack_message(failed) is failed
    assert unpack_message(failed) is failed


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ({"packed-0": piece(b"\xff\xff")}, "the packed message cannot be read"),
        ({"packed-0": ConfigRecord({"records": "text"})}, "piece 0 .* no bytes"),
        ({"packed-0": ConfigRecord()}, "piece 0 .* missing"),
        ({"packed-0": MetricRecord({"records": 1})}, "piece 0 .* missing"),
        ({"packed-0": piece(b""), "packed-2": piece(b"")}, "piece 1 .* missing"),
        ({"packed-0": piece(bytes(5 * 1024**2 + 1))}, "piece 0 .* over 5242880 bytes"),
        ({f"packed-{number}": piece(b"") for number in range(201)}, "201 pieces; at most 200"),
        (
            {"packed-0": piece(pack_records(RecordDict({"header": ARRAYS})))},
            "packed record 'header' is also sent unpacked",
        ),
        ({"packed-0": piece(pack_records(RecordDict({"secure_aggregation": HEADER})))}, "or is no array or metric"),
        ({"packed-0": piece(pack_records(RecordDict({"packed-0": piece(b"")})))}, "or is no array or metric"),
    ],
)
def test_a_message_that_cannot_be_unpacked_is_refused(pieces: dict, why: str) -> None:
    with pytest.raises(PayloadError, match=why) as refused:
        unpack_message(message(RecordDict({"header": HEADER, **pieces})))
    assert refused.value.reason == "malformed"


def test_names_that_share_one_record_ask_for_no_memory() -> None:
    """A reply of 100 MB could otherwise ask for as many times as much as it has names."""
    shared = piece(bytes(1024))
    hostile = message(RecordDict({f"packed-{number}": shared for number in range(5000)}))
    with pytest.raises(PayloadError, match="5000 pieces"):
        unpack_message(hostile)


def test_a_client_app_answers_as_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Flower starts the app, the app itself unpacks the message."""
    seen = []

    def answer(client: object, asked: Message, context: Context) -> Message:
        seen.append(asked.content)
        return Message(RecordDict({"logits": ARRAYS}), reply_to=asked)

    monkeypatch.setattr("fedkd.federation.client_app._train", answer)
    app: ClientApp = build_client_app(lambda _: None)
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    packed_reply, plain_reply = app(pack_message(message(CONTENT)), context), app(message(CONTENT), context)
    assert seen == [CONTENT, CONTENT]
    assert is_packed(packed_reply)
    assert not is_packed(plain_reply)
    assert unpack_message(packed_reply).content == plain_reply.content
