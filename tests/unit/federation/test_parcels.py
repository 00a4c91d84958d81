"""What a parcel holds comes out as it went in; a hostile one is an error of its sender."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.superlink.grid.http_grid import get_all_nested_objects

from fedkd.errors import PayloadError
from fedkd.federation import parcels
from fedkd.federation.client_app import build_client_app
from fedkd.federation.engines.internals import pack_records, task_identity
from fedkd.federation.parcels import is_parcel, opened, parcelled

HEADER = ConfigRecord({"server_round": 3, "message": b"\x00\xff"})
ARRAYS = ArrayRecord({f"layer{i}": Array(np.arange(6, dtype=np.float32).reshape(2, 3) + i) for i in range(6)})
CONTENT = RecordDict({"header": HEADER, "weights": ARRAYS, "metrics": MetricRecord({"loss": 0.5})})


@pytest.fixture(autouse=True)
def identity() -> Iterator[None]:
    with task_identity(1, 1):
        yield


def message(content: RecordDict, node: int = 5) -> Message:
    return Message(content, node, "train", group_id="3")


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
    one, other = (
        parcelled(message(RecordDict({**CONTENT, "header": ConfigRecord({"client": client})}), node=client))
        for client in (1, 2)
    )
    assert one.content["parcel-0"].object_id == other.content["parcel-0"].object_id


def test_a_large_one_travels_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parcels, "_PIECE", 64)
    sent = parcelled(message(CONTENT))
    assert len(sent.content) == 2 + len(pack_records(RecordDict({**CONTENT, "header": ConfigRecord()}))) // 64 > 12
    assert opened(sent).content == CONTENT


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
        ({"parcel-0": ConfigRecord({"records": b"\xff\xff"})}, "the parcel cannot be read"),
        ({"parcel-0": ConfigRecord({"records": "text"})}, "a bytes"),
        ({"parcel-0": ConfigRecord()}, "no field 'records' in record 'parcel-0'"),
        ({"parcel-0": MetricRecord({"records": 1})}, "no field 'records' in record 'parcel-0'"),
        ({"parcel-0": ConfigRecord({"records": b""}), "parcel-2": ConfigRecord({"records": b""})}, "'parcel-1'"),
        ({"parcel-0": ConfigRecord({"records": pack_records(CONTENT)})}, "record 'header' is in the parcel and"),
    ],
)
def test_a_parcel_that_cannot_be_opened_is_refused(pieces: dict, why: str) -> None:
    with pytest.raises(PayloadError, match=why):
        opened(message(RecordDict({"header": HEADER, **pieces})))


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
