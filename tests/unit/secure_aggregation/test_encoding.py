"""From numbers to levels and back: unbiased, within the stated bound, and nothing that is not finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedkd.secure_aggregation import VectorLayout, decode, encode, errors, round_weights, smallest_ring_bits


def fitting(parameters, num_values, *, value_bits=10, weight_bits=4, **changes):
    ring_bits = changes.pop("ring_bits", max(32, smallest_ring_bits(5, value_bits, weight_bits)))
    layout = changes.pop("layout", None) or VectorLayout(1, num_values)
    return parameters(5, value_bits=value_bits, weight_bits=weight_bits, ring_bits=ring_bits, layout=layout, **changes)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    st.integers(1, 32),
    st.integers(1, 16),
    st.floats(1e-3, 1e3),
    st.sampled_from([np.float32, np.float64]),
)
@example([-1.0], 27, 1, 1e-3, np.float32)  # whose −1e-3 lies beyond the double's by 32 steps
@settings(max_examples=50)
def test_one_client_decodes_within_a_step(parameters, values, value_bits, weight_bits, clipping_range, dtype):
    terms = fitting(
        parameters, len(values), value_bits=value_bits, weight_bits=weight_bits, clipping_range=clipping_range
    )
    given_values = np.array([values], dtype=dtype)
    decoded = decode(encode(given_values, [2**weight_bits - 1], terms), terms, 1)
    clipped = np.clip(given_values.astype(float), -clipping_range, clipping_range)
    slack = 8 * np.finfo(np.float64).eps * clipping_range
    assert np.abs(decoded.means_GC - clipped).max() < terms.step + slack


def test_rounding_is_unbiased(parameters):
    terms = fitting(parameters, 40_000, value_bits=2)  # levels −4, −4/3, 4/3, 4
    decoded = decode(encode(np.full((1, 40_000), 0.4), [1], terms), terms, 1)
    fraction = (0.4 + 4) / terms.step - 1  # of values that go up
    deviation = terms.step * math.sqrt(fraction * (1 - fraction) / 40_000)
    assert set(np.round(np.unique(decoded.means_GC), 9)) == {-1.333333333, 1.333333333}
    assert abs(decoded.means_GC.mean() - 0.4) < 5 * deviation


def test_levels_are_what_the_definition_says(parameters):
    terms = fitting(parameters, 4, value_bits=2, weight_bits=3)
    exact = np.array([[-4.0, -4 / 3, 4.0, 9.0]])  # on a level, and clipped to one; −4/3 is one up to rounding
    vector = encode(exact, [5], terms)
    assert vector[[0, 2, 3]].tolist() == [0, 15, 15]
    assert vector[1] in (5, 10)
    assert vector[4:].tolist() == [5, 1]


def test_layout_is_levels_weights_clipped_counters(parameters):
    terms = fitting(parameters, 0, layout=VectorLayout(2, 3, 2))
    vector = encode([[9, -9, 4], [4, 4, -4]], [3, 0], terms, counters_E=[7, 8])
    assert vector.tolist() == [3 * 1023, 0, 3 * 1023, 0, 0, 0, 3, 0, 2, 7, 8]
    assert vector.dtype == np.uint32
    assert encode([[0.0]], [1], fitting(parameters, 1, ring_bits=33)).dtype == np.uint64


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(parameters, bad):
    with pytest.raises(errors.InputError, match="NaN, infinity"):
        encode([[0.0, bad]], [1], fitting(parameters, 2))


@pytest.mark.parametrize("values", [[[1j, 0]], [["a", "b"]], [[True, False]]])
def test_what_is_no_real_number_is_refused(parameters, values):
    with pytest.raises(errors.InputError, match="no real number"):
        encode(values, [1], fitting(parameters, 2))


@pytest.mark.parametrize(
    ("values", "weights", "counters", "match"),
    [
        ([[0.0]], [1], [], r"values_GC has shape \(1, 1\)"),
        ([[0.0, 0.0]], [16], [], r"weights_G lies in \[16, 16\]; 0 to 15"),
        ([[0.0, 0.0]], [-1], [], "weights_G lies in"),
        ([[0.0, 0.0]], [0.5], [], "weights_G has shape"),
        ([[0.0, 0.0]], [1, 1], [], "weights_G has shape"),
        ([[0.0, 0.0]], [1], [1], "counters_E has shape"),
    ],
)
def test_other_shapes_and_ranges_are_refused(parameters, values, weights, counters, match):
    with pytest.raises(errors.InputError, match=match):
        encode(values, weights, fitting(parameters, 2), counters_E=counters)


def test_counter_that_could_wrap_around_is_refused(parameters):
    terms = fitting(parameters, 0, layout=VectorLayout(1, 1, 1))
    assert encode([[0.0]], [1], terms, counters_E=[(2**32 - 1) // 5])[-1] == 858_993_459
    with pytest.raises(errors.InputError, match="0 to 858993459"):
        encode([[0.0]], [1], terms, counters_E=[858_993_460])


def test_mean_over_no_weight_is_refused(parameters):
    terms = fitting(parameters, 0, layout=VectorLayout(2, 1))
    with pytest.raises(errors.UndefinedMeanError, match="1 of 2 total weights"):
        _ = decode(encode([[0.0], [0.0]], [1, 0], terms), terms, 1).means_GC


def test_real_weights_are_rounded_without_bias():
    rounded = round_weights(np.full(40_000, 0.3), 4)
    assert set(rounded.tolist()) == {4, 5}  # 0.3 · 15 = 4.5
    assert abs(rounded.mean() - 4.5) < 5 * 0.5 / 200
    assert round_weights([0.0, 1.0], 32).tolist() == [0, 2**32 - 1]


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, math.inf])
def test_real_weights_beyond_zero_and_one_are_refused(bad):
    with pytest.raises(errors.InputError, match=r"\[0, 1\]"):
        round_weights([bad], 4)
