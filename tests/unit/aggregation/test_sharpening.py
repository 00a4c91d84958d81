from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax
from scipy.stats import entropy

from fedkd.aggregation import entropy_reduction, unchanged
from fedkd.seeding import numpy_rng

LOGITS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.integers(2, 6)), elements=st.floats(-1e4, 1e4, width=32)
)


@settings(deadline=None, max_examples=30)
@given(LOGITS, st.sampled_from([0.05, 0.1, 0.5, 1.0, 3.0]))
def test_entropy_reduction_agrees_with_scipy(logits_NC, temperature):
    sharp = entropy_reduction(temperature)(logits_NC)
    expected = softmax(softmax(logits_NC.astype(np.float64), axis=1) / temperature, axis=1)
    assert sharp.dtype == np.float32
    np.testing.assert_allclose(softmax(sharp.astype(np.float64), axis=1), expected, rtol=1e-5, atol=1e-7)


@settings(deadline=None, max_examples=30)
@given(LOGITS, st.sampled_from([0.05, 0.1, 0.5]))
def test_odds_never_pass_exp_of_one_over_t_and_the_order_of_classes_stays(logits_NC, temperature):
    sharp = entropy_reduction(temperature)(logits_NC)
    assert (np.ptp(sharp, axis=1) <= 1 / temperature * (1 + 1e-6)).all()
    best = np.take_along_axis(sharp, logits_NC.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert (best == sharp.max(axis=1)).all()


@pytest.mark.parametrize("num_classes", [2, 10, 50])
def test_a_vague_teacher_is_sharpened_below_one_over_the_number_of_classes_and_blunted_above(num_classes):
    logits_NC = numpy_rng(0, "logits").normal(scale=0.01, size=(50, num_classes)).astype(np.float32)

    def certainty(teacher_NC: np.ndarray) -> np.ndarray:
        return np.log(num_classes) - entropy(softmax(teacher_NC.astype(np.float64), axis=1), axis=1)

    assert (certainty(entropy_reduction(0.5 / num_classes)(logits_NC)) > 2 * certainty(logits_NC)).all()
    assert (certainty(entropy_reduction(2.0 / num_classes)(logits_NC)) < certainty(logits_NC) / 2).all()


def test_it_blunts_a_teacher_surer_than_its_bound():
    """At T = 0.5 no odds pass e² ≈ 7.4."""
    sharp = entropy_reduction(0.5)(np.array([[20.0, 0.0]], np.float32))
    assert sharp[0, 0] - sharp[0, 1] == pytest.approx(2.0, abs=1e-6)


def test_unchanged_hands_the_very_logits_back():
    logits_NC = np.ones((2, 3), np.float32)
    assert unchanged(logits_NC) is logits_NC
