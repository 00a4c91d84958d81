from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import softmax
from scipy.stats import entropy

from fedkd.errors import ConfigError
from fedkd.methods.refinements import EntropyReduction, Refinement, Refinements
from fedkd.payload import Rows
from fedkd.seeding import numpy_rng


def entropy_reduction(temperature):
    """The refinement as a function of logits [N, C]."""
    return lambda logits_NC: (
        EntropyReduction(temperature).measured(Rows.of(np.arange(len(logits_NC)), logits_NC)).values_ND
    )


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


def test_a_temperature_of_zero_is_refused():
    with pytest.raises(ConfigError, match="above 0"):
        EntropyReduction(0.0)


class Halved(Refinement):
    """Asks for the even keys, remembers how often, and halves the values."""

    def initial(self, num_keys, width):
        return {"calls": np.array(0), "size": np.array([num_keys, width])}

    def ask(self, drawn_N, server_round, state):
        return drawn_N[drawn_N % 2 == 0]

    def refine(self, fresh, drawn_N, server_round, state):
        return self.measured(fresh), {**state, "calls": state["calls"] + 1}

    def measured(self, rows):
        return Rows.of(rows.keys_N, rows.values_ND / 2)


def test_several_refinements_are_done_in_order_and_each_has_its_own_state():
    """The values are first put through a softmax and then halved; the states do not mix."""
    both = Refinements((EntropyReduction(0.5), Halved(), Halved()))
    state = both.initial(6, 3)
    assert sorted(state) == ["1/calls", "1/size", "2/calls", "2/size"]
    assert both.ask(np.arange(6), 1, state).tolist() == [0, 2, 4]
    rows = Rows.of([0, 2], [[1.0, 0.0, -1.0], [0.0, 0.0, 3.0]])
    refined, state = both.refine(rows, np.arange(6), 1, state)
    expected = entropy_reduction(0.5)(rows.values_ND) / 4
    np.testing.assert_allclose(refined.values_ND, expected, rtol=1e-6)
    np.testing.assert_allclose(both.measured(rows).values_ND, expected, rtol=1e-6)
    assert (int(state["1/calls"]), int(state["2/calls"])) == (1, 1)
    assert state["1/size"].tolist() == [6, 3]


def test_no_refinement_leaves_the_very_rows():
    rows = Rows.of([0], [[1.0, 2.0]])
    none = Refinements()
    assert none.refine(rows, rows.keys_N, 1, {}) == (rows, {})
    assert none.measured(rows) is rows
    assert none.ask(rows.keys_N, 1, {}) is rows.keys_N
