from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedkd.payload import clip_logits

LOGITS = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.floats(-100, 100, width=32)
)
RANGES = st.floats(0.5, 80, width=32)


@settings(deadline=None, max_examples=30)
@given(LOGITS, RANGES)
def test_what_lies_inside_stays_and_the_rest_goes_to_the_border(logits_NC, clipping_range):
    before = logits_NC.copy()
    clipped, fraction = clip_logits(logits_NC, clipping_range)
    outside = np.abs(before) > clipping_range
    assert clipped.dtype == np.float32
    assert np.array_equal(clipped[~outside], before[~outside])
    assert np.array_equal(clipped[outside], np.sign(before[outside]) * np.float32(clipping_range))
    assert fraction == np.count_nonzero(outside) / outside.size
    assert np.array_equal(logits_NC, before), "the caller's array was changed"


@settings(deadline=None, max_examples=30)
@given(LOGITS, RANGES)
def test_clipping_twice_changes_nothing(logits_NC, clipping_range):
    once, _ = clip_logits(logits_NC, clipping_range)
    twice, fraction = clip_logits(once, clipping_range)
    assert np.array_equal(once, twice)
    assert fraction == 0.0
