"""Both ends of the seam: what leaves is bounded, and what enters is checked against all a client may do wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedkd.errors import ConfigError, PayloadError
from fedkd.payload import Codec, PayloadConfig, Rows, RowsSpec, Seam, Step
from fedkd.records import PrivacyEvent

ENCODINGS = ["float32", "float16", "int8"]
N, C = 3, 4
KEYS = np.array([2, 5, 11])
RNG = np.random.default_rng(0)


def config(encoding="float32", **keys) -> PayloadConfig:
    return PayloadConfig.model_validate({"encoding": encoding, **keys})


def spec(bound=np.inf, **keys) -> RowsSpec:
    return RowsSpec("public", C, bound, **keys)


def send(end: Seam, values, rows_spec: RowsSpec):
    """What travels, and the share that was clipped."""
    out = end.outgoing(Rows.of(KEYS, values), rows_spec, KEYS, RNG)
    return end.encode(out.rows, out.spec, KEYS, {})[0], out.clipped_fraction


def receive(end: Seam, wire, rows_spec: RowsSpec) -> Rows:
    return end.decode(wire, end.spec_after(rows_spec), KEYS, {})[0]


@pytest.mark.parametrize("encoding", ENCODINGS)
@settings(deadline=None, max_examples=20)
@given(values_NC=hnp.arrays(np.float32, (N, C), elements=st.floats(-1e4, 1e4, width=32)))
def test_what_is_received_is_what_was_sent_clipped_and_rounded(encoding, values_NC):
    end = config(encoding).seam()
    wire, fraction = send(end, values_NC, spec(30.0))
    received = receive(end, wire, spec(30.0))
    expected = np.where(np.abs(values_NC) > 30, np.sign(values_NC) * 30, values_NC)
    tolerance = {"float32": 0.0, "float16": 30 * 2.0**-11, "int8": 30 / 254 * (1 + 1e-4)}[encoding]
    assert np.abs(received.values_ND - expected).max() <= tolerance
    assert np.abs(received.values_ND).max() <= 30
    assert fraction == (np.abs(values_NC) > 30).mean()
    assert received.values_ND.dtype == np.float32
    assert received.keys_N.tolist() == KEYS.tolist()
    assert (received.weights_N == 1).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_nothing_is_clipped_without_a_bound(encoding):
    values_NC = np.full((N, C), 1000, np.float32)
    end = config(encoding).seam()
    wire, fraction = send(end, values_NC, spec())
    assert fraction == 0.0
    np.testing.assert_allclose(receive(end, wire, spec()).values_ND, values_NC, rtol=1e-6)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("bound", [30.0, np.inf])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nothing_leaves_that_is_not_finite_clipped_or_not(encoding, bound, bad):
    values_NC = np.zeros((N, C), np.float32)
    values_NC[0, 1] = bad
    with pytest.raises(PayloadError) as refusal:
        send(config(encoding).seam(), values_NC, spec(bound))
    assert refusal.value.reason == "not_finite"


def test_the_server_clips_what_a_client_did_not():
    received = receive(config().seam(), {"values": np.full((N, C), -1e30, np.float32)}, spec(2.0))
    assert np.array_equal(received.values_ND, np.full((N, C), -2.0))
    wire = {"values": np.full((N, C), 127, np.int8), "scale": np.array([1e3])}
    assert np.array_equal(receive(config("int8").seam(), wire, spec(2.0)).values_ND, np.full((N, C), 2.0))


def _ones(dtype="float32", shape=(N, C)):
    return np.ones(shape, dtype)


@pytest.mark.parametrize(
    ("encoding", "wire", "reason"),
    [
        ("float32", {}, "missing"),
        ("int8", {"values": _ones("int8")}, "missing"),
        ("float32", {"values": _ones("float64")}, "dtype"),
        ("float32", {"values": _ones(">f4")}, "dtype"),
        ("float16", {"values": _ones("float32")}, "dtype"),
        ("int8", {"values": _ones("uint8"), "scale": _ones("float64", 1)}, "dtype"),
        ("int8", {"values": _ones("int8"), "scale": _ones("float32", 1)}, "dtype"),
        ("float32", {"values": _ones("object")}, "dtype"),
        ("float32", {"values": _ones("U3")}, "dtype"),
        ("float32", {"values": _ones(shape=(N * C,))}, "shape"),
        ("float32", {"values": _ones(shape=())}, "shape"),
        ("float32", {"values": _ones(shape=(1, N, C))}, "shape"),
        ("float32", {"values": _ones(shape=(N + 1, C))}, "shape"),
        ("float32", {"values": _ones(shape=(0, C))}, "shape"),
        ("float32", {"values": _ones(shape=(N, C + 1))}, "shape"),
        ("float32", {"values": _ones(shape=(N, 1))}, "shape"),
        ("float32", {"values": _ones() * np.nan}, "not_finite"),
        ("float16", {"values": _ones("float16") * np.float16(np.inf)}, "not_finite"),
        ("int8", {"values": _ones("int8"), "scale": np.array([1e39])}, "not_finite"),
        ("int8", {"values": _ones("int8"), "scale": np.array([0.0])}, "scale"),
        ("int8", {"values": _ones("int8"), "scale": np.array([-1.0])}, "scale"),
        ("int8", {"values": _ones("int8"), "scale": np.array([np.nan])}, "scale"),
        ("int8", {"values": _ones("int8"), "scale": np.array([1.0, 1.0])}, "scale"),
    ],
)
@pytest.mark.parametrize("bound", [30.0, np.inf])
def test_each_bad_reply_is_refused_by_its_reason(encoding, wire, reason, bound):
    with pytest.raises(PayloadError) as refusal:
        receive(config(encoding).seam(), wire, spec(bound))
    assert refusal.value.reason == reason
    assert refusal.value.detail


def test_what_leaves_is_bounded_before_it_is_encoded():
    end = config("int8").seam()
    wire, _ = send(end, np.array([[1e6, 0.5, -1e6, 0.0]] * N, np.float32), spec(1.0))
    assert wire["scale"] == pytest.approx(1 / 127), "one huge value would have cost the others their precision"
    received = receive(end, wire, spec(1.0))
    np.testing.assert_allclose(received.values_ND, [[1.0, 0.5, -1.0, 0.0]] * N, atol=1 / 254)


WEIGHTED = spec(30.0, weighted=True)


def test_weighted_rows_may_be_missing_and_keep_their_weights():
    """A bit for each key says which rows are there; only those have values and weights on the wire."""
    end = config().seam()
    rows = Rows.of(KEYS[[0, 2]], np.ones((2, C)), [1.0, 0.25])
    wire, _ = end.encode(end.outgoing(rows, WEIGHTED, KEYS, RNG).rows, WEIGHTED, KEYS, {})
    assert {name: array.size for name, array in wire.items()} == {"values": 8, "row_present": 1, "row_weights": 2}
    received = receive(end, wire, WEIGHTED)
    assert received.keys_N.tolist() == [2, 11]
    assert received.weights_N.tolist() == [1.0, 0.25]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"row_weights": np.array([1.5, 1.0], np.float32)}, "weights"),
        ({"row_weights": np.array([-0.5, 1.0], np.float32)}, "weights"),
        ({"row_weights": np.array([np.nan, 1.0], np.float32)}, "weights"),
        ({"row_weights": np.array([1.0], np.float32)}, "shape"),
        ({"row_weights": np.array([1.0, 1.0])}, "dtype"),
        ({"row_present": np.packbits([True, True, True])}, "shape"),
        ({"row_present": np.zeros(2, np.uint8)}, "shape"),
        ({"row_present": np.zeros(1, np.int8)}, "dtype"),
        ({"row_present": None}, "missing"),
    ],
    ids=str,
)
def test_a_liars_weights_and_keys_are_refused(changes, reason):
    end = config().seam()
    wire, _ = end.encode(Rows.of(KEYS[:2], np.ones((2, C))), WEIGHTED, KEYS, {})
    changed = {name: array for name, array in ({**wire, **changes}).items() if array is not None}
    with pytest.raises(PayloadError) as refusal:
        receive(end, changed, WEIGHTED)
    assert refusal.value.reason == reason


@pytest.mark.parametrize("keys", [[2, 5, 12], [5, 2, 11], [2, 2, 5]])
def test_an_upload_that_answers_other_keys_is_refused_before_it_leaves(keys):
    with pytest.raises(PayloadError) as refusal:
        config().seam().outgoing(Rows.of(keys, np.ones((3, C))), WEIGHTED, KEYS, RNG)
    assert refusal.value.reason == "keys"


def test_an_upload_without_weights_answers_all_that_was_asked():
    with pytest.raises(PayloadError, match="for each of the 3"):
        config().seam().outgoing(Rows.of(KEYS[:2], np.ones((2, C))), spec(30.0), KEYS, RNG)


@pytest.mark.parametrize("rows_spec", [spec(30.0), WEIGHTED], ids=["plain", "weighted"])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keys_N": np.array(N)}, "shape"),
        ({"keys_N": KEYS[:, None]}, "shape"),
        ({"weights_N": np.ones((N, 1), np.float32)}, "shape"),
        ({"weights_N": np.ones(N)}, "dtype"),
        ({"weights_N": np.ones(N, complex)}, "dtype"),
        ({"weights_N": np.array(["a"] * N)}, "dtype"),
        ({"weights_N": np.full(N, np.nan, np.float32)}, "weights"),
        ({"weights_N": np.full(N, 1e30, np.float32)}, "weights"),
        ({"weights_N": np.full(N, -1, np.float32)}, "weights"),
    ],
    ids=["no key", "a column", "a table", "float64", "complex", "text", "NaN", "huge", "negative"],
)
def test_keys_and_weights_of_any_shape_and_kind_are_checked(rows_spec, changes, reason):
    """Rows on the test split travel as they are, so that a liar chooses every array of them."""
    rows = replace(Rows.of(KEYS, np.ones((N, C))), **changes)
    with pytest.raises(PayloadError) as refusal:
        rows_spec.checked(rows, KEYS)
    assert refusal.value.reason == reason


def test_rows_without_weights_of_their_own_cannot_be_weighed_down():
    with pytest.raises(PayloadError) as refusal:
        spec(30.0).checked(Rows.of(KEYS, np.ones((N, C)), [1, 0.5, 0]), KEYS)
    assert refusal.value.reason == "weights"


@dataclass(frozen=True)
class Times(Step):
    """Multiplies every value, and promises a bound that it does not keep."""

    factor: float
    promised: float = 10.0

    def __call__(self, rows, rows_spec, rng):
        return replace(rows, values_ND=rows.values_ND * np.float32(self.factor))

    def after(self, rows_spec):
        return replace(rows_spec, bound=self.promised)

    def event(self, rows_spec, num_rows):
        return PrivacyEvent(mechanism="gaussian", noise_multiplier=self.factor, count=num_rows)


def test_steps_are_taken_in_order_and_each_is_held_to_its_promise():
    """1 · 4 = 4, within 10; then 4 · 4 = 16, clipped to 10; the first steps are an attacker's."""
    end = config().seam((Times(4.0), Times(4.0)))
    out = end.outgoing(Rows.of(KEYS, np.ones((N, C))), spec(30.0), KEYS, RNG)
    assert (out.rows.values_ND == 10).all()
    assert out.spec == end.spec_after(spec(30.0)) == spec(10.0)
    assert [(event.noise_multiplier, event.count) for event in end.events(spec(30.0), N)] == [(4.0, N)] * 2
    assert out.clipped_fraction == 0.0


class Infinite(Step):
    """Makes every value infinite."""

    def __call__(self, rows, rows_spec, rng):
        return replace(rows, values_ND=np.full_like(rows.values_ND, np.inf))


def test_a_step_that_makes_infinities_is_refused():
    end = config().seam((Infinite(),))
    with pytest.raises(PayloadError) as refusal:
        end.outgoing(Rows.of(KEYS, np.ones((N, C))), spec(30.0), KEYS, RNG)
    assert refusal.value.reason == "not_finite"


class Broken(Codec):
    """A user's codec that a hostile message breaks."""

    def encode(self, rows, memory):
        return {}, memory

    def decode(self, wire, keys_N, width, memory):
        return wire["values"][99], memory


def test_whatever_a_users_codec_raises_on_a_hostile_message_is_a_refusal():
    end = replace(config().seam(), codec=Broken())
    with pytest.raises(PayloadError, match="KeyError") as refusal:
        receive(end, {}, spec())
    assert refusal.value.reason == "malformed"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_what_the_server_tells_is_encoded_too(encoding):
    """The encoding holds both ways; int8 takes a quarter of float32."""
    end = config(encoding).seam()
    values_NC = np.random.default_rng(1).normal(size=(N, C)).astype(np.float32)
    wire = end.encode_down(Rows.of(KEYS, values_NC))
    assert wire["values"].nbytes == N * C * {"float32": 4, "float16": 2, "int8": 1}[encoding]
    told = end.decode_down(wire, KEYS, C)
    np.testing.assert_allclose(told.values_ND, values_NC, atol=np.abs(values_NC).max() / 200)


def test_the_way_down_may_have_an_encoding_of_its_own():
    end = config("int8", encoding_down="float16").seam()
    assert end.encode_down(Rows.of(KEYS, np.ones((N, C))))["values"].dtype == np.float16


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"encoding": "int4"}, "payload.encoding"),
        ({"encoding_down": "int4"}, "payload.encoding_down"),
        ({"steps": ["gausian_noise"]}, "payload.steps"),
        ({"steps": ["gaussian_noise"]}, "payload.steps.noise_multiplier"),
        ({"steps": [{"name": "clip_norm", "clipping_norm": 0.0}]}, "payload.steps.clipping_norm"),
        ({"steps": [{"name": "gaussian_noise", "noise_multiplier": -1.0}]}, "payload.steps.noise_multiplier"),
    ],
    ids=str,
)
def test_parts_that_cannot_be_made_are_named(keys, named):
    with pytest.raises(ConfigError) as refusal:
        config(**keys).seam()
    assert refusal.value.key == named
