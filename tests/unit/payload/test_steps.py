"""Steps: norms are clipped, noise has the size that the spec promises, and lies keep within the bound."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from fedkd.attacks.lies import LeastLikely, RotateLogits
from fedkd.errors import ConfigError
from fedkd.payload import Rows, RowsSpec
from fedkd.payload.steps import ClipNorm, GaussianNoise

SPEC = RowsSpec("public", 4, 30.0)
RNG = np.random.default_rng(0)


def rows(values) -> Rows:
    return Rows.of(np.arange(len(values)), values)


def test_long_rows_are_scaled_down_and_short_ones_left():
    """(3, 4, 0, 0) has norm 5: at a clipping norm of 2 it becomes (1.2, 1.6, 0, 0)."""
    step = ClipNorm(2.0)
    clipped = step(rows([[3.0, 4.0, 0.0, 0.0], [1.0, 0.0, 0.0, -1.0], [0.0] * 4]), SPEC, RNG)
    np.testing.assert_allclose(clipped.values_ND, [[1.2, 1.6, 0, 0], [1, 0, 0, -1], [0, 0, 0, 0]], rtol=1e-6)
    after = step.after(SPEC)
    assert (after.norm, after.bound, after.row_norm) == (2.0, 2.0, 2.0)


def test_the_largest_row_that_a_bound_allows_has_the_norm_bound_times_root_of_the_width():
    assert SPEC.row_norm == pytest.approx(60.0)


@pytest.mark.parametrize(("before", "norm"), [(SPEC, 60.0), (ClipNorm(2.0).after(SPEC), 2.0)])
def test_noise_is_normal_with_the_multiplier_times_the_largest_norm(before, norm):
    """By a Kolmogorov-Smirnov test of 40,000 values against the normal distribution of SciPy."""
    step = GaussianNoise(0.5)
    noisy = step(rows(np.zeros((10_000, 4))), before, np.random.default_rng(1))
    assert kstest(noisy.values_ND.ravel(), "norm", args=(0, 0.5 * norm)).pvalue > 0.01
    after = step.after(before)
    assert after.bound == pytest.approx(before.bound + 6 * 0.5 * norm)
    event = step.event(before, 7)
    assert (event.mechanism, event.noise_multiplier, event.count) == ("gaussian", 0.5, 7)


def test_noise_is_a_function_of_the_generator():
    step = GaussianNoise(0.5)
    first, again, other = (step(rows(np.zeros((2, 4))), SPEC, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.values_ND, again.values_ND)
    assert not np.array_equal(first.values_ND, other.values_ND)


def test_noise_without_a_bound_is_refused():
    """Its size would be infinite."""
    with pytest.raises(ConfigError, match=r"payload\.clip"):
        GaussianNoise(0.5).after(RowsSpec("public", 4))


def test_rotated_logits_are_the_same_numbers_one_class_further():
    """The largest, of class 2, goes to class 0, the second; that one's to class 3; the least one's class gets the
    third.
    """
    lied = RotateLogits()(rows([[3.0, -1.0, 5.0, 0.0]]), SPEC, RNG)
    assert lied.values_ND.tolist() == [[5.0, 0.0, -1.0, 3.0]]


def test_a_liar_is_sure_of_the_least_likely_class_as_far_as_the_bound_lets_it():
    lied = LeastLikely(size=100.0)(rows([[3.0, -1.0, 5.0, 0.0]]), SPEC, RNG)
    assert lied.values_ND.tolist() == [[-30.0, 30.0, -30.0, -30.0]]
