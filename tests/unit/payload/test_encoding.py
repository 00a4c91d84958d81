"""Round trips within the documented errors, and refusal of what cannot be encoded or decoded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedkd.errors import PayloadError
from fedkd.payload import EncodedLogits, decode_logits, encode_logits

ENCODINGS = ["float32", "float16", "int8"]
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6))
FLOAT32_MAX = float(np.finfo(np.float32).max)
SMALLEST = float(np.finfo(np.float32).smallest_subnormal)


def logits(largest: float) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float32, SHAPES, elements=st.floats(-largest, largest, width=32))


def round_trip(logits_NC, encoding):
    return decode_logits(encode_logits(logits_NC, encoding), encoding)


@settings(deadline=None, max_examples=30)
@given(logits(FLOAT32_MAX))
def test_float32_keeps_every_bit(logits_NC):
    back = round_trip(logits_NC, "float32")
    assert back.tobytes() == logits_NC.tobytes()


@settings(deadline=None, max_examples=30)
@given(logits(65504.0))
def test_float16_errs_by_two_to_the_minus_eleven(logits_NC):
    error = np.abs(round_trip(logits_NC, "float16").astype(np.float64) - logits_NC)
    assert (error <= np.maximum(2.0**-11 * np.abs(logits_NC.astype(np.float64)), 2.0**-25)).all()


@pytest.mark.parametrize("largest", [1e-40, 1e-3, 30.0, FLOAT32_MAX])
@settings(deadline=None, max_examples=20)
@given(data=st.data())
def test_int8_errs_by_half_a_step(largest, data):
    logits_NC = data.draw(logits(float(np.float32(largest))))
    error = np.abs(round_trip(logits_NC, "int8").astype(np.float64) - logits_NC)
    half_step = float(np.abs(logits_NC).max()) / 254
    assert (error <= half_step * (1 + 1e-4) + SMALLEST).all()  # beyond the half step, only float32's own rounding


def test_int8_keeps_logits_whose_scale_is_below_float32():
    logits_NC = np.array([[1e-44, -1e-44, 0.0]], np.float32)
    assert np.array_equal(round_trip(logits_NC, "int8"), logits_NC)


def test_int8_uses_all_its_levels_and_keeps_the_largest():
    logits_NC = np.linspace(-2.54, 2.54, 255, dtype=np.float32)[None]
    encoded = encode_logits(logits_NC, "int8")
    assert sorted(set(encoded.data.ravel().tolist())) == list(range(-127, 128))
    assert encoded.scale == pytest.approx(2.54 / 127)
    np.testing.assert_allclose(decode_logits(encoded, "int8"), logits_NC, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_zeros_and_nothing_survive(encoding):
    for logits_NC in (np.zeros((2, 3), np.float32), np.zeros((0, 3), np.float32)):
        back = round_trip(logits_NC, encoding)
        assert np.array_equal(back, logits_NC)
        assert back.dtype == np.float32


@pytest.mark.parametrize(("encoding", "size"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_bytes_of_a_logit(encoding, size):
    data, _ = encode_logits(np.ones((5, 4), np.float32)[:, ::-1], encoding)
    assert data.dtype == encoding
    assert data.nbytes == 5 * 4 * size


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_before_any_cast(encoding, bad):
    logits_NC = np.zeros((2, 3), np.float32)
    logits_NC[1, 2] = bad
    with pytest.raises(PayloadError, match="NaN or infinity") as refusal:
        encode_logits(logits_NC, encoding)
    assert refusal.value.reason == "not_finite"


def test_float16_refuses_what_it_cannot_hold():
    assert encode_logits(np.full((1, 1), 65504, np.float32), "float16").data.item() == 65504
    with pytest.raises(PayloadError, match="clip first") as refusal:
        encode_logits(np.full((1, 1), -65520, np.float32), "float16")
    assert refusal.value.reason == "range"


@pytest.mark.parametrize("sent", ENCODINGS)
@pytest.mark.parametrize("expected", ENCODINGS)
def test_only_the_dtype_of_the_encoding_is_decoded(sent, expected):
    encoded = encode_logits(np.ones((1, 2), np.float32), sent)
    if sent == expected:
        assert np.array_equal(decode_logits(encoded, expected), np.ones((1, 2)))
        return
    with pytest.raises(PayloadError, match=f"came as {sent}; payload.encoding asks for {expected}") as refusal:
        decode_logits(encoded, expected)
    assert refusal.value.reason == "dtype"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("scale", [0.0, -1.0, np.nan, np.inf])
def test_only_positive_finite_scales_are_decoded(encoding, scale):
    with pytest.raises(PayloadError, match="positive finite") as refusal:
        decode_logits(EncodedLogits(np.ones((1, 2), encoding), scale), encoding)
    assert refusal.value.reason == "scale"
