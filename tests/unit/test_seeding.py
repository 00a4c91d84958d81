"""Named streams: stable over machines, apart from each other, and away from the global generators."""

from __future__ import annotations

import hashlib
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedkd.seeding import derive_seed, isolated_torch_rng, numpy_rng, seed_torch, torch_rng

PATHS = st.lists(st.one_of(st.text(max_size=8), st.integers(-100, 100)), max_size=4)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((0,), b"[0]"),
        ((42, "client", 3, "round", 7), b'[42, "client", 3, "round", 7]'),
        ((-1, 'quo"te', "ünicode"), rb'[-1, "quo\"te", "\u00fcnicode"]'),
    ],
)
def test_a_seed_is_the_top_63_bits_of_the_sha256_of_the_path(path, text):
    assert derive_seed(*path) == int(hashlib.sha256(text).hexdigest()[:16], 16) // 2


def test_known_values_stay():
    """Written down once; a change here changes every result that was ever published."""
    assert derive_seed(0) == 7520536977032167579
    assert derive_seed(42, "client", 3, "round", 7) == 5862303844811195484


@settings(deadline=None, max_examples=30)
@given(st.integers(-(2**70), 2**70), PATHS)
def test_seeds_fit_every_generator(root, path):
    seed = derive_seed(root, *path)
    assert 0 <= seed < 2**63
    assert torch_rng(root, *path).initial_seed() == seed


@settings(deadline=None, max_examples=30)
@given(st.tuples(st.integers(0, 5), PATHS), st.tuples(st.integers(0, 5), PATHS))
def test_different_paths_have_different_seeds(first, second):
    same = first[0] == second[0] and first[1] == second[1]
    assert (derive_seed(first[0], *first[1]) == derive_seed(second[0], *second[1])) == same


def test_numbers_are_not_their_digits_and_words_do_not_run_together():
    paths = [(1,), ("1",), (1, 1), (11,), ("a", "b"), ("ab",), ("a", "", "b"), (1, 0), ("1,0",)]
    assert len({derive_seed(0, *path) for path in paths}) == len(paths)


def test_neighbouring_streams_do_not_correlate():
    streams = np.stack([numpy_rng(0, "client", k).normal(size=4000) for k in range(6)])
    correlation = np.corrcoef(streams) - np.eye(6)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


def test_generators_repeat_and_agree_with_their_seed():
    assert np.array_equal(numpy_rng(3, "x").random(5), np.random.default_rng(derive_seed(3, "x")).random(5))
    ours = torch.rand(5, generator=torch_rng(3, "x"))
    assert torch.equal(ours, torch.rand(5, generator=torch.Generator().manual_seed(derive_seed(3, "x"))))
    assert not torch.equal(ours, torch.rand(5, generator=torch_rng(3, "y")))


@pytest.fixture
def torch_state():
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def test_inside_the_block_the_seed_decides(torch_state):
    weights = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        with isolated_torch_rng(9):
            weights.append(nn.Linear(3, 3).weight)
    assert torch.equal(*weights)


def test_torch_is_seeded_as_torch_does_it(torch_state):
    torch.manual_seed(2**62 + 9)
    expected = torch.rand(5)
    seed_torch(2**62 + 9)
    assert torch.equal(torch.rand(5), expected)


def test_the_global_generators_come_back_as_they_were(torch_state):
    torch.manual_seed(5)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002 (the global one)
    derive_seed(0, "a"), numpy_rng(0).random(3), torch.rand(3, generator=torch_rng(0))
    with isolated_torch_rng(9):
        torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])  # noqa: NPY002


def test_they_come_back_after_an_error_too(torch_state):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="invalid shape"), isolated_torch_rng(9):
        torch.rand(3).view(-7)
    assert torch.equal(torch.get_rng_state(), before)


def test_blocks_nest():
    with isolated_torch_rng(1):
        expected = torch.rand(2), torch.rand(2)
    with isolated_torch_rng(1):
        first = torch.rand(2)
        with isolated_torch_rng(2):
            torch.rand(7)
        second = torch.rand(2)
    assert torch.equal(first, expected[0])
    assert torch.equal(second, expected[1])
