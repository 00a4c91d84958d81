"""Typed payloads survive the way through records, and no record can break the reader."""

from __future__ import annotations

import io
from dataclasses import is_dataclass

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from hypothesis import given
from hypothesis import strategies as st

from fedkd._version import __version__
from fedkd.errors import PayloadError
from fedkd.federation.messages import (
    Absence,
    ClientMetrics,
    Hello,
    Told,
    TrainInstruction,
    TrainReply,
    hello_from_records,
    hello_to_records,
    instruction_from_records,
    instruction_to_records,
    reply_from_records,
    reply_to_records,
)
from fedkd.federation.record_fields import evaluation_bytes, payload_bytes
from fedkd.payload import Rows

METRICS = ClientMetrics(
    num_examples=7,
    train_loss=0.5,
    clipped_fraction=0.0,
    training_seconds=1.0,
    public_inference_seconds=0.1,
    evaluation_seconds=0.2,
)
WEIGHTS = {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "layer.steps": np.array(3)}  # the latter 0-d


def over_the_wire(content: RecordDict) -> RecordDict:
    """Serialise as Flower does between processes, and back."""
    return recorddict_from_proto(recorddict_to_proto(content))


def test_hello_survives() -> None:
    hello = Hello(client=3, architecture="mlp", num_classes=10, public_digest="ab" * 32)
    assert hello_from_records(over_the_wire(hello_to_records(hello))) == hello


def same(first: object, second: object) -> bool:
    """Whether two payloads hold the same, arrays bit by bit."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return (first.dtype, first.shape, first.tobytes()) == (second.dtype, second.shape, second.tobytes())
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if is_dataclass(first) and type(first) is type(second):
        return same(vars(first), vars(second))
    return type(first) is type(second) and first == second


TOLD = Told(np.arange(2, dtype=np.int32), 3, {"values": np.ones((2, 3), np.int8), "scale": np.array([0.5])})


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("told", [None, TOLD])
@pytest.mark.parametrize(("used_round", "setting"), [(0, None), (3, (4.0, 0.5))])
def test_an_instruction_survives(
    weights: dict | None, told: Told | None, used_round: int, setting: tuple[float, float] | None
) -> None:
    asked_N = np.array([1, 5], np.int32)
    sent = TrainInstruction(4, asked_N, weights, told, evaluate=True, used_round=used_round, setting=setting)
    assert same(instruction_from_records(over_the_wire(instruction_to_records(sent))), sent)


ROWS = {"values": np.array([[1, -2, 3]], np.int8), "scale": np.array([0.25])}


@pytest.mark.parametrize("test_rows", [None, Rows.of([0, 4], np.ones((2, 3)), [1.0, 0.5])])
def test_a_reply_survives(test_rows: Rows | None) -> None:
    sent = TrainReply(
        client=1,
        server_round=2,
        public_digest="cd" * 32,
        metrics=METRICS,
        rows=ROWS,
        weights=WEIGHTS,
        test_logits=np.ones((2, 3), np.float32),
        test_rows=test_rows,
        based_on=1,
    )
    assert same(reply_from_records(over_the_wire(reply_to_records(sent))), sent)


@pytest.mark.parametrize("keys_N", [np.array([5, 1], np.int32), np.array([1, 1], np.int32), np.array([1.0]), np.eye(2)])
def test_keys_that_are_no_ascending_list_are_refused(keys_N: np.ndarray) -> None:
    content = instruction_to_records(TrainInstruction(1, keys_N, None, None, evaluate=False))
    with pytest.raises(PayloadError, match="no ascending int32 array"):
        instruction_from_records(content)


@pytest.mark.parametrize("kind", ["dropped", "late"])
def test_an_absence_survives(kind: str) -> None:
    assert reply_from_records(over_the_wire(reply_to_records(Absence(5, kind)))) == Absence(5, kind)


def test_an_instruction_of_another_version_is_refused() -> None:
    content = instruction_to_records(TrainInstruction(1, np.array([0], np.int32), None, None, evaluate=False))
    content["header"] = ConfigRecord({**content.config_records["header"], "version": "0.0.0"})
    with pytest.raises(PayloadError, match=r"0\.0\.0"):
        instruction_from_records(content)


def test_bytes_count_arrays_and_leave_the_measurement_out() -> None:
    rows = {"values": np.zeros((10, 4), np.float16)}
    reply = reply_to_records(TrainReply(1, 1, "", METRICS, rows=rows))
    measured = reply_to_records(TrainReply(1, 1, "", METRICS, rows=rows, test_logits=np.zeros((100, 4), np.float32)))
    header = 128  # of NumPy's array format
    assert payload_bytes(reply) == payload_bytes(measured) == 10 * 4 * 2 + header
    assert (evaluation_bytes(reply), evaluation_bytes(measured)) == (0, 100 * 4 * 4 + header)


def an_archive() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.ones(3))
    return buffer.getvalue()


def a_huge_shape() -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (2**52,)})
    return buffer.getvalue()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04broken", b"\x93NUMPY", an_archive(), a_huge_shape()])
def test_bytes_that_are_no_array_are_refused(data: bytes) -> None:
    content = reply_to_records(TrainReply(1, 1, "", METRICS, rows=ROWS))
    content["rows"] = ArrayRecord({"values": Array("float32", (2, 3), "numpy.ndarray", data)})
    with pytest.raises(PayloadError, match="cannot be read"):
        reply_from_records(content)


@pytest.mark.parametrize("record", ["rows", "weights", "evaluation"])
@pytest.mark.parametrize(
    "other", [ConfigRecord({"values": "text"}), MetricRecord({"values": 1.0})], ids=["text", "number"]
)
def test_a_record_of_another_kind_in_the_place_of_arrays_is_refused(record: str, other: ConfigRecord) -> None:
    content = reply_to_records(TrainReply(1, 1, "", METRICS, rows=ROWS))
    content[record] = other
    with pytest.raises(PayloadError) as refusal:
        reply_from_records(content)
    assert refusal.value.reason == "malformed"


scalars = st.one_of(
    st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=5), st.booleans(), st.binary(max_size=4)
)
headers = st.dictionaries(
    st.sampled_from(
        ["client", "version", "server_round", "public_digest", "absence", "based_on", "told_width", "evaluate"]
    ),
    st.one_of(scalars, st.just(__version__)),
)
arrays = st.builds(
    Array,
    dtype=st.sampled_from(["float32", "object", "nonsense"]),
    shape=st.tuples(st.integers(0, 3)),
    stype=st.sampled_from(["numpy.ndarray", "other"]),
    data=st.binary(max_size=200),
)
metric_values = st.one_of(st.integers(-5, 5), st.floats(), st.lists(st.floats(), max_size=2))
metrics = st.dictionaries(st.sampled_from(list(vars(METRICS))), metric_values)


@given(
    headers,
    st.dictionaries(st.sampled_from(["rows", "weights", "asked", "told", "evaluation"]), arrays),
    metrics,
)
def test_no_records_make_the_reader_raise_anything_but_a_payload_error(
    header: dict, arrays_by_record: dict, metric_record: dict
) -> None:
    content = RecordDict({"header": ConfigRecord(header), "metrics": MetricRecord(metric_record)})
    for key, array in arrays_by_record.items():
        content[key] = ArrayRecord({"logits": array, "keys": array, "values": array, "row_keys": array})
    for read in (reply_from_records, instruction_from_records, hello_from_records):
        try:
            read(content)
        except PayloadError as refused:
            assert refused.reason in {"missing", "malformed", "version", "dtype"}  # noqa: PT017 (one of three readers may accept)
