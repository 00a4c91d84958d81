"""Both ends of the seam: what leaves is bounded, and what enters is checked against all a client may do wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedkd.errors import PayloadError
from fedkd.payload import EncodedLogits, PayloadConfig, PayloadSeam, decode_logits

ENCODINGS = ["float32", "float16", "int8"]
N, C = 3, 4


def seam(encoding="float32", **keys) -> PayloadSeam:
    return PayloadSeam(PayloadConfig(encoding=encoding, **keys))


def receive(end: PayloadSeam, data, scale=1.0):
    return end.receive(EncodedLogits(data, scale), num_samples=N, num_classes=C)


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(deadline=None, max_examples=20)
@given(logits_NC=hnp.arrays(np.float32, (N, C), elements=st.floats(-1e4, 1e4, width=32)))
def test_what_is_received_is_what_was_sent_clipped_and_rounded(encoding, logits_NC):
    end = seam(encoding, clipping_range=30.0)
    encoded, fraction = end.send(logits_NC)
    received = receive(end, *encoded)
    expected = np.where(np.abs(logits_NC) > 30, np.sign(logits_NC) * 30, logits_NC)
    tolerance = {"float32": 0.0, "float16": 30 * 2.0**-11, "int8": 30 / 254 * (1 + 1e-4)}[encoding]
    assert np.abs(received - expected).max() <= tolerance
    assert np.abs(received).max() <= 30
    assert fraction == (np.abs(logits_NC) > 30).mean()
    assert received.dtype == np.float32


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_is_clipped_where_the_configuration_says_so(encoding):
    logits_NC = np.full((N, C), 1000, np.float32)
    end = seam(encoding, clip=False)
    encoded, fraction = end.send(logits_NC)
    assert fraction == 0.0
    np.testing.assert_allclose(receive(end, *encoded), logits_NC, rtol=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nothing_leaves_that_is_not_finite_clipped_or_not(encoding, clip, bad):
    logits_NC = np.zeros((N, C), np.float32)
    logits_NC[0, 1] = bad
    with pytest.raises(PayloadError) as refusal:
        seam(encoding, clip=clip).send(logits_NC)
    assert refusal.value.reason == "not_finite"


def test_the_server_clips_what_a_client_did_not():
    received = receive(seam(clipping_range=2.0), np.full((N, C), -1e30, np.float32))
    assert np.array_equal(received, np.full((N, C), -2.0))
    scaled = receive(seam("int8", clipping_range=2.0), np.full((N, C), 127, np.int8), scale=1e3)
    assert np.array_equal(scaled, np.full((N, C), 2.0))


def _ones(dtype="float32", shape=(N, C)):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("encoding", "data", "scale", "reason"),
    [
        ("float32", _ones("float64"), 1.0, "dtype"),
        ("float32", _ones(">f4"), 1.0, "dtype"),
        ("float16", _ones("float32"), 1.0, "dtype"),
        ("int8", _ones("uint8"), 1.0, "dtype"),
        ("float32", _ones("object"), 1.0, "dtype"),
        ("float32", _ones("U3"), 1.0, "dtype"),
        ("float32", _ones(shape=(N * C,)), 1.0, "shape"),
        ("float32", _ones(shape=()), 1.0, "shape"),
        ("float32", _ones(shape=(1, N, C)), 1.0, "shape"),
        ("float32", _ones(shape=(N + 1, C)), 1.0, "shape"),
        ("float32", _ones(shape=(0, C)), 1.0, "shape"),
        ("float32", _ones(shape=(N, C + 1)), 1.0, "classes"),
        ("float32", _ones(shape=(N, 1)), 1.0, "classes"),
        ("float32", _ones() * np.nan, 1.0, "not_finite"),
        ("float16", _ones("float16") * np.float16(np.inf), 1.0, "not_finite"),
        ("int8", _ones("int8"), 1e39, "not_finite"),
        ("float32", _ones() * 1e30, 1e300, "not_finite"),
        ("int8", _ones("int8"), 0.0, "scale"),
        ("int8", _ones("int8"), -1.0, "scale"),
        ("int8", _ones("int8"), float("nan"), "scale"),
        ("float32", _ones(), float("inf"), "scale"),
    ],
)
@pytest.mark.parametrize("clip", [True, False])
def test_each_bad_reply_is_refused_by_its_reason(encoding, data, scale, reason, clip):
    with pytest.raises(PayloadError) as refusal:
        receive(seam(encoding, clip=clip), data, scale)
    assert refusal.value.reason == reason
    assert refusal.value.detail


def test_what_leaves_is_bounded_before_it_is_encoded():
    encoded, _ = seam("int8", clipping_range=1.0).send(np.array([[1e6, 0.5, -1e6, 0.0]], np.float32))
    assert encoded.scale == pytest.approx(1 / 127), "one huge logit would have cost the others their precision"
    np.testing.assert_allclose(decode_logits(encoded, "int8"), [[1.0, 0.5, -1.0, 0.0]], atol=1 / 254)
