"""Typed payloads survive the way through records, and no record can break the reader."""

from __future__ import annotations

import io

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
    TrainInstruction,
    TrainReply,
    hello_from_records,
    hello_to_records,
    instruction_from_records,
    instruction_to_records,
    payload_bytes,
    reply_from_records,
    reply_to_records,
)
from fedkd.payload import EncodedLogits

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


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("consensus", [None, (np.arange(2, dtype=np.int32), np.ones((2, 3), np.float32))])
def test_an_instruction_survives(weights: dict | None, consensus: tuple | None) -> None:
    sent = TrainInstruction(4, np.array([1, 5], np.int32), weights, consensus, evaluate=True)
    received = instruction_from_records(over_the_wire(instruction_to_records(sent)))
    assert (received.server_round, received.evaluate) == (4, True)
    np.testing.assert_array_equal(received.public_indices_N, sent.public_indices_N)
    assert (received.weights is None) == (weights is None)
    for key in weights or {}:
        np.testing.assert_array_equal(received.weights[key], weights[key])
        assert (received.weights[key].dtype, received.weights[key].shape) == (weights[key].dtype, weights[key].shape)
    assert (received.consensus is None) == (consensus is None)
    if consensus is not None:
        np.testing.assert_array_equal(received.consensus[1], consensus[1])


def test_a_reply_survives() -> None:
    logits = EncodedLogits(np.array([[1, -2, 3]], np.int8), 0.25)
    sent = TrainReply(1, 2, "cd" * 32, METRICS, logits=logits, weights=WEIGHTS, test_logits=np.ones((2, 3), np.float32))
    received = reply_from_records(over_the_wire(reply_to_records(sent)))
    assert isinstance(received, TrainReply)
    assert (received.client, received.server_round, received.metrics, received.version) == (1, 2, METRICS, __version__)
    assert received.logits is not None
    assert received.logits.scale == 0.25
    np.testing.assert_array_equal(received.logits.data, logits.data)
    np.testing.assert_array_equal(received.weights["layer.weight"], WEIGHTS["layer.weight"])


@pytest.mark.parametrize("kind", ["dropped", "late"])
def test_an_absence_survives(kind: str) -> None:
    assert reply_from_records(over_the_wire(reply_to_records(Absence(5, kind)))) == Absence(5, kind)


def test_an_instruction_of_another_version_is_refused() -> None:
    content = instruction_to_records(TrainInstruction(1, np.array([0], np.int32), None, None, evaluate=False))
    content["header"] = ConfigRecord({**content.config_records["header"], "version": "0.0.0"})
    with pytest.raises(PayloadError, match=r"0\.0\.0"):
        instruction_from_records(content)


def test_bytes_count_arrays_and_leave_the_measurement_out() -> None:
    logits = EncodedLogits(np.zeros((10, 4), np.float16), 1.0)
    reply = TrainReply(1, 1, "", METRICS, logits=logits)
    measured = TrainReply(1, 1, "", METRICS, logits=logits, test_logits=np.zeros((100, 4), np.float32))
    header = 128  # of NumPy's array format
    assert payload_bytes(reply_to_records(reply)) == payload_bytes(reply_to_records(measured)) == 10 * 4 * 2 + header


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
    logits = EncodedLogits(np.zeros((2, 3), np.float32), 1.0)
    content = reply_to_records(TrainReply(1, 1, "", METRICS, logits=logits))
    content["logits"] = ArrayRecord({"logits": Array("float32", (2, 3), "numpy.ndarray", data)})
    with pytest.raises(PayloadError, match="cannot be read"):
        reply_from_records(content)


scalars = st.one_of(
    st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=5), st.booleans(), st.binary(max_size=4)
)
headers = st.dictionaries(
    st.sampled_from(
        ["client", "version", "server_round", "public_digest", "absence", "logits_scale", "architecture", "evaluate"]
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
    st.dictionaries(st.sampled_from(["logits", "weights", "public", "consensus", "evaluation"]), arrays),
    metrics,
)
def test_no_records_make_the_reader_raise_anything_but_a_payload_error(
    header: dict, arrays_by_record: dict, metric_record: dict
) -> None:
    content = RecordDict({"header": ConfigRecord(header), "metrics": MetricRecord(metric_record)})
    for key, array in arrays_by_record.items():
        content[key] = ArrayRecord({"logits": array, "indices": array})
    for read in (reply_from_records, instruction_from_records, hello_from_records):
        try:
            read(content)
        except PayloadError as refused:
            assert refused.reason in {"missing", "malformed", "version"}  # noqa: PT017 (one of three readers may accept)
