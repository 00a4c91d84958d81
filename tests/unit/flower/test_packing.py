"""What a parcel holds comes out as it went in; a hostile one is an error of its sender."""

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
from fedkd.flower.packing import Parcels, is_parcel, opened, parcelled

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


def test_a_parcel_is_opened_to_what_was_packed() -> None:
    sent = message(CONTENT)
    received = opened(parcelled(sent))
    assert received.content == CONTENT
    assert received.metadata is sent.metadata
    np.testing.assert_array_equal(received.content.array_records["weights"]["layer5"].numpy(), ARRAYS["layer5"].numpy())


def test_it_is_one_object_however_many_arrays_there_are() -> None:
    """Message, records, header and parcel; each costs a request wherever it is carried."""
    assert len(get_all_nested_objects(message(CONTENT))) == 2 + 1 + 1 + 1 + 2 * len(ARRAYS)
    assert len(get_all_nested_objects(parcelled(message(CONTENT)))) == 4


def test_clients_that_get_the_same_arrays_get_the_same_parcel() -> None:
    """One in memory, and by its identifier one at the SuperLink."""
    made = Parcels()
    instructions = [RecordDict({**CONTENT, "header": ConfigRecord({"client": client})}) for client in (1, 2)]
    instructions.append(RecordDict({"header": HEADER, "weights": ARRAYS}))
    one, other, less = (parcelled(message(content), made) for content in instructions)
    assert one.content["parcel-0"] is other.content["parcel-0"]
    assert one.content["parcel-0"].object_id == parcelled(message(CONTENT)).content["parcel-0"].object_id
    assert [opened(each).content for each in (one, other, less)] == instructions


def test_a_large_one_travels_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_PIECE", 64)
    sent = parcelled(message(CONTENT))
    packed = pack_records(RecordDict({name: CONTENT[name] for name in ("weights", "metrics")}))
    assert len(sent.content) == 1 + -(-len(packed) // 64)
    assert len(sent.content) > 12
    assert opened(sent).content == CONTENT


def test_one_that_is_too_large_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "_PIECE", 64)
    monkeypatch.setattr(packing, "_MOST_PIECES", 3)
    sent = message(CONTENT)
    assert parcelled(sent) is sent


@pytest.mark.parametrize("content", [RecordDict(), RecordDict({"header": HEADER})])
def test_configuration_alone_needs_none(content: RecordDict) -> None:
    sent = message(content)
    assert parcelled(sent) is sent
    assert opened(sent) is sent
    assert not is_parcel(sent)


def test_an_error_is_left_alone() -> None:
    failed = Message(Error(1, "no"), reply_to=message(CONTENT))
    assert parcelled(failed) is failed
    assert opened(failed) is failed


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ({"parcel-0": piece(b"\xff\xff")}, "the parcel cannot be read"),
        ({"parcel-0": ConfigRecord({"records": "text"})}, "piece 0 .* no bytes"),
        ({"parcel-0": ConfigRecord()}, "piece 0 .* missing"),
        ({"parcel-0": MetricRecord({"records": 1})}, "piece 0 .* missing"),
        ({"parcel-0": piece(b""), "parcel-2": piece(b"")}, "piece 1 .* missing"),
        ({"parcel-0": piece(bytes(5 * 1024**2 + 1))}, "piece 0 .* over 5242880 bytes"),
        ({f"parcel-{number}": piece(b"") for number in range(201)}, "201 pieces; at most 200"),
        ({"parcel-0": piece(pack_records(RecordDict({"header": ARRAYS})))}, "record 'header' is in the parcel and"),
        ({"parcel-0": piece(pack_records(RecordDict({"secure_aggregation": HEADER})))}, "or no array or metric"),
        ({"parcel-0": piece(pack_records(RecordDict({"parcel-0": piece(b"")})))}, "or no array or metric"),
    ],
)
def test_a_parcel_that_cannot_be_opened_is_refused(pieces: dict, why: str) -> None:
    with pytest.raises(PayloadError, match=why) as refused:
        opened(message(RecordDict({"header": HEADER, **pieces})))
    assert refused.value.reason == "malformed"


def test_names_that_share_one_record_ask_for_no_memory() -> None:
    """A reply of 100 MB could otherwise ask for as many times as much as it has names."""
    shared = piece(bytes(1024))
    hostile = message(RecordDict({f"parcel-{number}": shared for number in range(5000)}))
    with pytest.raises(PayloadError, match="5000 pieces"):
        opened(hostile)


def test_a_client_app_answers_as_it_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Flower starts the app, nobody else opens the parcel."""
    seen = []

    def answer(client: object, asked: Message, context: Context) -> Message:
        seen.append(asked.content)
        return Message(RecordDict({"logits": ARRAYS}), reply_to=asked)

    monkeypatch.setattr("fedkd.federation.client_app._train", answer)
    app: ClientApp = build_client_app(lambda _: None)
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    in_parcel, as_it_is = app(parcelled(message(CONTENT)), context), app(message(CONTENT), context)
    assert seen == [CONTENT, CONTENT]
    assert is_parcel(in_parcel)
    assert not is_parcel(as_it_is)
    assert opened(in_parcel).content == as_it_is.content
