"""Entries of any number of bits pass through bytes, and take no more than they need."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkd.secure_aggregation.packing import pack, packed_bytes, reduce, ring_dtype, unpack


@given(st.integers(8, 64), st.data())
def test_vectors_pass_through_bytes(ring_bits, data):
    entries = data.draw(st.lists(st.integers(0, 2**ring_bits - 1), min_size=1, max_size=200))
    packed = pack(np.array(entries, dtype=ring_dtype(ring_bits)), ring_bits)
    assert len(packed) == packed_bytes(len(entries), ring_bits) == -(-len(entries) * ring_bits // 8)
    as_one_number = sum(entry << (ring_bits * at) for at, entry in enumerate(entries))
    assert int.from_bytes(packed, "little") == as_one_number
    unpacked = unpack(packed, len(entries), ring_bits)
    assert unpacked.tolist() == entries
    assert unpacked.dtype == ring_dtype(ring_bits)


@pytest.mark.parametrize("ring_bits", [8, 21, 32, 33, 63, 64])
def test_reduction_is_modulo(ring_bits):
    dtype = ring_dtype(ring_bits)
    vector = np.array([0, 1, np.iinfo(dtype).max, 2 ** (ring_bits - 1)], dtype)
    expected = [int(entry) % 2**ring_bits for entry in vector]
    reduce(vector, ring_bits)
    assert vector.tolist() == expected
