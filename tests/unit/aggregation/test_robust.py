from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedkd.aggregation.robust import MedianLogits
from fedkd.seeding import numpy_rng

LOGITS = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(2, 4)),
    elements=st.floats(-1e6, 1e6, width=32),
)


@settings(deadline=None, max_examples=30)
@given(LOGITS)
def test_agrees_with_the_standard_library_coordinate_by_coordinate(logits_KNC):
    teacher_NC = MedianLogits()(logits_KNC)
    for n, c in np.ndindex(teacher_NC.shape):
        expected = statistics.median(logits_KNC[:, n, c].tolist())
        assert teacher_NC[n, c] == pytest.approx(expected, rel=1e-6, abs=1e-30)


@pytest.mark.parametrize("num_clients", [3, 4, 5, 8])
@pytest.mark.parametrize("attack", [1e30, -1e30])
def test_a_minority_cannot_leave_the_range_of_the_others_and_half_can(num_clients, attack):
    """⌈K/2⌉ − 1 attackers are borne; with one more the teacher leaves the honest range."""
    borne = -(-num_clients // 2) - 1
    logits_KNC = numpy_rng(0, num_clients).normal(size=(num_clients, 5, 3)).astype(np.float32)
    honest = logits_KNC[borne:]
    logits_KNC[:borne] = attack
    teacher_NC = MedianLogits()(logits_KNC)
    assert (honest.min(axis=0) <= teacher_NC).all()
    assert (teacher_NC <= honest.max(axis=0)).all()
    logits_KNC[borne] = attack
    assert (np.abs(MedianLogits()(logits_KNC)) > 1e29).all()
