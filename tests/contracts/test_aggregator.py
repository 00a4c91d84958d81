"""What every aggregator keeps, and what those that need only sums keep besides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax, softmax

from fedkd.aggregation import AGGREGATORS, MeanAggregator, Stack
from fedkd.errors import PayloadError
from fedkd.payload import Rows
from fedkd.seeding import numpy_rng

FLOAT32_MAX = float(np.finfo(np.float32).max)
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(2, 6))

every_aggregator = pytest.mark.parametrize("aggregator", [kind() for kind in AGGREGATORS.values()], ids=AGGREGATORS)
every_sum = pytest.mark.parametrize(
    "aggregator",
    [kind() for kind in AGGREGATORS.values() if kind.needs == "sum"],
    ids=[name for name, kind in AGGREGATORS.items() if kind.needs == "sum"],
)
property_test = settings(deadline=None, max_examples=20)


def client_logits(largest: float) -> st.SearchStrategy[np.ndarray]:
    return hnp.arrays(np.float32, SHAPES, elements=st.floats(-largest, largest, width=32))


@every_aggregator
@property_test
@given(logits_KNC=client_logits(FLOAT32_MAX))
def test_finite_logits_become_finite_float32_logits_and_stay_themselves(aggregator, logits_KNC):
    before = logits_KNC.copy()
    teacher_NC = aggregator(logits_KNC)
    assert teacher_NC.shape == logits_KNC.shape[1:]
    assert teacher_NC.dtype == np.float32
    assert np.isfinite(teacher_NC).all()
    assert np.array_equal(logits_KNC, before)


@every_aggregator
@property_test
@given(logits_KNC=client_logits(30.0), data=st.data())
def test_the_order_of_clients_changes_nothing_beyond_rounding(aggregator, logits_KNC, data):
    order = data.draw(st.permutations(range(len(logits_KNC))))
    np.testing.assert_allclose(aggregator(logits_KNC[order]), aggregator(logits_KNC), rtol=1e-6, atol=1e-6)


@every_aggregator
@property_test
@given(logits_KNC=client_logits(FLOAT32_MAX))
def test_the_order_of_clients_changes_nothing_beyond_rounding_at_any_size(aggregator, logits_KNC):
    largest = np.abs(logits_KNC.astype(np.float64)).max()
    forth, back = aggregator(logits_KNC).astype(np.float64), aggregator(logits_KNC[::-1]).astype(np.float64)
    np.testing.assert_allclose(back, forth, rtol=1e-6, atol=1e-12 * largest)


@every_aggregator
@property_test
@given(logits_KNC=client_logits(100.0), num_clients=st.integers(1, 7))
def test_identical_clients_give_that_clients_distribution(aggregator, logits_KNC, num_clients):
    logits_NC = logits_KNC[0]
    teacher_NC = aggregator(np.stack([logits_NC] * num_clients))
    expected_NC = log_softmax(logits_NC.astype(np.float64), axis=1)
    np.testing.assert_allclose(log_softmax(teacher_NC.astype(np.float64), axis=1), expected_NC, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(softmax(teacher_NC, axis=1), np.exp(expected_NC), rtol=1e-4, atol=1e-6)


@every_aggregator
def test_samples_do_not_see_each_other(aggregator):
    logits_KNC = numpy_rng(0, "logits").normal(scale=5, size=(4, 6, 3)).astype(np.float32)
    apart = np.concatenate([aggregator(logits_KNC[:, [n]]) for n in range(6)])
    np.testing.assert_allclose(apart, aggregator(logits_KNC), rtol=1e-6)


@every_aggregator
def test_classes_may_be_renamed(aggregator):
    logits_KNC = numpy_rng(0, "logits").normal(scale=5, size=(4, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(aggregator(logits_KNC[:, :, [2, 0, 1]]), aggregator(logits_KNC)[:, [2, 0, 1]], rtol=1e-6)


@every_aggregator
def test_the_same_input_gives_the_same_bits(aggregator):
    logits_KNC = numpy_rng(0, "logits").normal(scale=5, size=(7, 50, 10)).astype(np.float32)
    again = type(aggregator)()
    assert aggregator(logits_KNC).tobytes() == aggregator(logits_KNC).tobytes() == again(logits_KNC).tobytes()


@every_aggregator
def test_no_samples_make_no_answers(aggregator):
    assert aggregator(np.zeros((3, 0, 4), np.float32)).shape == (0, 4)


@every_aggregator
@pytest.mark.parametrize("shape", [(3, 4), (4,), (), (1, 2, 3, 4), (0, 2, 3), (2, 3, 0), (2, 3, 1)], ids=str)
def test_wrong_shapes_are_refused(aggregator, shape):
    with pytest.raises(PayloadError, match="values ≥ 2") as refusal:
        aggregator(np.zeros(shape, np.float32))
    assert refusal.value.reason == "shape"


@every_aggregator
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_enough_to_refuse(aggregator, bad):
    logits_KNC = np.zeros((3, 4, 5), np.float32)
    logits_KNC[2, 3, 4] = bad
    with pytest.raises(PayloadError, match="only finite values") as refusal:
        aggregator(logits_KNC)
    assert refusal.value.reason == "not_finite"


@every_aggregator
def test_only_means_need_no_more_than_sums(aggregator):
    assert (aggregator.needs == "sum") == isinstance(aggregator, MeanAggregator)


def stacked(values_KND, weights_KN):
    """Rows of clients 0, 1, … for keys 3, 4, …; those of weight 0 are missing."""
    keys_N = np.arange(3, 3 + values_KND.shape[1])
    rows = {
        client: Rows.of(keys_N[weights_N > 0], values_ND[weights_N > 0], weights_N[weights_N > 0])
        for client, (values_ND, weights_N) in enumerate(zip(values_KND, weights_KN, strict=True))
    }
    return Stack.of(rows, keys_N)


@every_aggregator
def test_a_client_without_a_row_for_a_key_has_no_say_there(aggregator):
    """A key that nobody answered is absent; one that a single client answered is that client's."""
    logits_KNC = numpy_rng(0, "logits").normal(scale=5, size=(3, 4, 3)).astype(np.float32)
    weights_KN = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1]])
    teacher = aggregator.combine(stacked(logits_KNC, weights_KN))
    assert teacher.keys_N.tolist() == [3, 5, 6]
    expected_NC = [aggregator(logits_KNC)[0], aggregator(logits_KNC[:1])[2], aggregator(logits_KNC[2:])[3]]
    np.testing.assert_allclose(teacher.values_ND, expected_NC, rtol=1e-6)


@every_aggregator
def test_a_rule_changes_no_state_and_serves_other_keys(aggregator):
    """What is only measured moves nothing that learns."""
    logits_KNC = numpy_rng(0, "logits").normal(scale=5, size=(3, 4, 3)).astype(np.float32)
    rule, state = aggregator.fit(stacked(logits_KNC, np.ones((3, 4))), aggregator.initial(range(3)))
    before = {name: array.copy() for name, array in state.items()}
    np.testing.assert_allclose(rule(stacked(logits_KNC[:, :2], np.ones((3, 2)))).values_ND, aggregator(logits_KNC)[:2])
    assert all(np.array_equal(state[name], before[name]) for name in before)


@every_sum
def test_weights_of_rows_weigh_the_mean(aggregator):
    """A client of weight 1 beside two of weight 1/2 counts as it would beside one client twice, each half."""
    logits_KNC = numpy_rng(0, "logits").normal(scale=5, size=(2, 4, 3)).astype(np.float32)
    doubled = aggregator.combine(stacked(logits_KNC[[0, 1, 1]], np.array([[1.0] * 4, [0.5] * 4, [0.5] * 4])))
    np.testing.assert_allclose(doubled.values_ND, aggregator(logits_KNC), rtol=1e-5)


@every_sum
@property_test
@given(logits_KNC=client_logits(50.0))
def test_the_teacher_is_finished_from_sums_of_what_each_client_computes_alone(aggregator, logits_KNC):
    total_NC, total_N = sums_alone(type(aggregator)(), logits_KNC)
    np.testing.assert_allclose(aggregator(logits_KNC), aggregator.finish(total_NC / total_N), rtol=1e-5, atol=1e-5)


@every_sum
def test_sums_of_groups_of_clients_do_as_well(aggregator):
    logits_KNC = numpy_rng(0, "logits").normal(scale=5, size=(5, 6, 3)).astype(np.float32)
    left, right = sums_alone(aggregator, logits_KNC[:2]), sums_alone(aggregator, logits_KNC[2:])
    means_NC = (left[0] + right[0]) / (left[1] + right[1])
    np.testing.assert_allclose(aggregator.finish(means_NC), aggregator(logits_KNC), rtol=1e-5, atol=1e-6)


@every_sum
@property_test
@given(logits_KNC=client_logits(30.0))
def test_what_is_summed_keeps_its_promised_bounds(aggregator, logits_KNC):
    values, weights = aggregator.values(logits_KNC[0]), aggregator.weights(logits_KNC[0])
    assert np.abs(values).max() <= aggregator.largest_value(30.0)
    assert (weights > 0).all()
    assert (weights <= 1).all()
    assert aggregator.weighted or (weights == 1).all()


def sums_alone(aggregator, logits_KNC):
    """Σ w·v [N, C] and Σ w [N, 1], from each client's logits by themselves."""
    weighed = [
        (aggregator.weights(z)[:, None] * aggregator.values(z), aggregator.weights(z)[:, None]) for z in logits_KNC
    ]
    return sum(total for total, _ in weighed), sum(weight for _, weight in weighed)
