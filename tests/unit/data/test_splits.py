import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkd.data.splits import default_test_size, draw
from fedkd.errors import DataError


@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.integers(0, 2**40))
def test_a_draw_divides_the_pool(sizes, seed):
    num, size = sizes
    pool = np.arange(num) * 3
    drawn, left = draw(pool, size, "data.public.size", num, seed)
    assert len(drawn) == size
    assert sorted([*drawn, *left]) == pool.tolist()
    assert left.tolist() == sorted(left)
    assert np.array_equal(draw(pool, size, "data.public.size", num, seed)[0], drawn)


def test_draws_differ_by_seed_and_key():
    pool = np.arange(100)
    draws = {tuple(draw(pool, 50, key, 100, seed)[0]) for key in ("a", "b") for seed in (0, 1)}
    assert len(draws) == 4


def test_too_large_a_draw_names_key_value_and_maximum():
    with pytest.raises(DataError, match=r"data\.public\.size = 9 is not allowed: at most 7 of the 10"):
        draw(np.arange(10), 9, "data.public.size", 7, 0)


@pytest.mark.parametrize(("num", "size"), [(1797, 360), (10, 2), (11, 3), (1, 1)])
def test_a_fifth_is_held_out_rounded_up(num, size):
    assert default_test_size(num) == size
