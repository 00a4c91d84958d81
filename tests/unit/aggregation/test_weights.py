"""Averages of weights; Flower's own aggregation is the independent source."""

from __future__ import annotations

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp.strategy.strategy_utils import aggregate_arrayrecords
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedkd.aggregation import Weights, weighted_average
from fedkd.seeding import numpy_rng


def random_weights(*path: int, dtype: str = "float32") -> Weights:
    rng = numpy_rng(0, *path)
    return {
        "conv.weight": rng.normal(size=(4, 3, 2, 2)).astype(dtype),
        "bias": rng.normal(size=4).astype(dtype),
        "scale": np.asarray(rng.normal(), dtype),
    }


def by_flower(weights_K: list[Weights], num_examples_K: list[int]) -> Weights:
    records = [
        RecordDict(
            {
                "arrays": ArrayRecord({key: Array(value) for key, value in weights.items()}),
                "metrics": MetricRecord({"num-examples": n}),
            }
        )
        for weights, n in zip(weights_K, num_examples_K, strict=True)
    ]
    return {key: value.numpy() for key, value in aggregate_arrayrecords(records, "num-examples").items()}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=6))
def test_agrees_with_flower(num_examples_K):
    weights_K = [random_weights(k, dtype="float64") for k in range(len(num_examples_K))]
    ours, theirs = weighted_average(weights_K, num_examples_K), by_flower(weights_K, num_examples_K)
    assert ours.keys() == theirs.keys()
    for key in ours:
        np.testing.assert_allclose(ours[key], theirs[key], rtol=1e-12, atol=1e-15)


def test_agrees_with_flower_in_float32_and_keeps_dtype_and_shape():
    weights_K = [random_weights(k) for k in range(3)]
    ours, theirs = weighted_average(weights_K, [5, 1, 30]), by_flower(weights_K, [5, 1, 30])
    for key, value in ours.items():
        assert (value.dtype, value.shape) == (weights_K[0][key].dtype, weights_K[0][key].shape)
        np.testing.assert_allclose(value, theirs[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "int32"])
def test_equal_weights_come_back(dtype):
    array = np.array([[1, -2, 3]], dtype)
    average = weighted_average([{"w": array}] * 3, [1, 1, 5])["w"]
    assert average.dtype == dtype
    np.testing.assert_allclose(average, array, rtol=1e-3 if dtype == "float16" else 1e-7)


@pytest.mark.parametrize(("counts", "expected"), [([10, 11], 11), ([10, 20], 18), ([3, 3], 3)])
def test_integer_buffers_are_rounded_not_cut(counts, expected):
    average = weighted_average([{"n": np.asarray(c, np.int64)} for c in counts], [1, 4])["n"]
    assert average.dtype == np.int64
    assert average.shape == ()
    assert average == expected  # 10.8, 18.0, 3.0


def test_a_state_dict_with_batch_norm_counters_travels():
    weights = {key: value.numpy().copy() for key, value in nn.BatchNorm1d(3).state_dict().items()}
    other = {key: value + 2 for key, value in weights.items()}
    average = weighted_average([weights, other], [1, 1])
    assert average["num_batches_tracked"] == 1
    assert average["num_batches_tracked"].dtype == np.int64
    np.testing.assert_allclose(average["running_mean"], 1.0)


def test_a_client_without_examples_does_not_count_and_inputs_stay():
    weights_K = [random_weights(0), random_weights(1)]
    before = [{key: value.copy() for key, value in weights.items()} for weights in weights_K]
    average = weighted_average(weights_K, [0, 7])
    for key, value in average.items():
        np.testing.assert_allclose(value, weights_K[1][key], rtol=1e-7)
        assert not np.shares_memory(value, weights_K[1][key])
        assert all(np.array_equal(weights_K[k][key], before[k][key]) for k in range(2))


@pytest.mark.parametrize(
    ("weights_K", "num_examples_K", "message"),
    [
        ([], [], "at least 1"),
        ([{"w": np.ones(2)}], [1, 2], "1 weights and 2 numbers"),
        ([{"w": np.ones(2)}] * 2, [0, 0], "sums to 0"),
        ([{"w": np.ones(2)}], [-3], "sums to -3"),
        ([{"w": np.ones(2)}, {"v": np.ones(2)}], [1, 1], "different architectures"),
        ([{"w": np.ones(2)}, {"w": np.ones(2), "v": np.ones(2)}], [1, 1], "different architectures"),
        ([{"w": np.ones(2)}, {"w": np.ones(3)}], [1, 1], "different architectures"),
        ([{"w": np.ones(3)}, {"w": np.ones(1)}], [1, 1], "different architectures"),
        ([{"w": np.ones((3, 1))}, {"w": np.ones(3)}], [1, 1], "different architectures"),
    ],
)
def test_what_cannot_be_averaged_is_refused(weights_K, num_examples_K, message):
    with pytest.raises(ValueError, match=message):
        weighted_average(weights_K, num_examples_K)
