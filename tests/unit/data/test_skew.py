import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.distance import cityblock
from scipy.stats import entropy

from fedkd.data.skew import skew_measures

COUNTS = hnp.arrays(np.int64, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.integers(0, 50)).filter(
    lambda counts_KC: (counts_KC.sum(axis=1) > 0).all()
)


@given(COUNTS)
def test_measures_agree_with_scipy(counts_KC):
    measures = skew_measures(counts_KC)
    probs = [row / row.sum() for row in counts_KC]
    overall = counts_KC.sum(axis=0) / counts_KC.sum()
    distances = [cityblock(row, overall) / 2 for row in probs]
    assert measures["mean_total_variation"] == pytest.approx(np.mean(distances), abs=1e-12)
    assert measures["mean_label_entropy_nats"] == pytest.approx(np.mean([entropy(row) for row in probs]), abs=1e-12)
    assert measures["mean_classes_per_client"] == pytest.approx(np.mean([np.count_nonzero(row) for row in counts_KC]))


@given(st.lists(st.integers(1, 100), min_size=1, max_size=8))
def test_gini_agrees_with_the_area_under_the_lorenz_curve(sizes):
    lorenz = np.concatenate([[0], np.cumsum(np.sort(sizes)) / np.sum(sizes)])
    area = np.trapezoid(lorenz, dx=1 / len(sizes))
    assert skew_measures(np.array(sizes)[:, None])["size_gini"] == pytest.approx(1 - 2 * area, abs=1e-12)


def test_the_extremes():
    even = skew_measures(np.full((4, 3), 5))
    assert even["mean_total_variation"] == even["size_gini"] == 0
    assert even["mean_label_entropy_nats"] == pytest.approx(np.log(3))
    apart = skew_measures(np.eye(4, dtype=np.int64) * 7)
    assert apart["mean_total_variation"] == pytest.approx(3 / 4)
    assert apart["mean_label_entropy_nats"] == 0
    assert apart["mean_classes_per_client"] == 1
