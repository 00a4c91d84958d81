"""Vectors over a ring of 2^m as bytes: m bits an entry, little-endian, without padding between entries.

`W` entries of m bits fill exactly m words of W bits (W = 32 or 64), so packing is a fixed pattern of shifts that
NumPy runs over all such groups at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fedkd.secure_aggregation.masking import RingArray

Dtype = np.dtype[np.unsignedinteger[Any]]


def ring_dtype(ring_bits: int) -> Dtype:
    """The smallest of uint32 and uint64 that holds an element of the ring."""
    return np.dtype(np.uint32) if ring_bits <= 32 else np.dtype(np.uint64)


def packed_bytes(length: int, ring_bits: int) -> int:
    """Bytes of a packed vector."""
    return -(-length * ring_bits // 8)


def reduce(vector_D: RingArray, ring_bits: int) -> None:
    """Take a vector modulo 2^ring_bits, in place."""
    if ring_bits < 8 * vector_D.dtype.itemsize:
        np.bitwise_and(vector_D, vector_D.dtype.type((1 << ring_bits) - 1), out=vector_D)


def pack(vector_D: RingArray, ring_bits: int) -> bytes:
    """Pack a vector whose entries are below 2^ring_bits."""
    dtype = ring_dtype(ring_bits)
    width = 8 * dtype.itemsize
    if ring_bits == width:
        return vector_D.astype(dtype.newbyteorder("<"), copy=False).tobytes()
    entries = np.zeros((-(-len(vector_D) // width), width), dtype)
    entries.reshape(-1)[: len(vector_D)] = vector_D
    words = np.zeros((len(entries), ring_bits), dtype)
    for entry, word, shift in _pattern(ring_bits, width):
        words[:, word] |= entries[:, entry] << dtype.type(shift)
        if shift + ring_bits > width:
            words[:, word + 1] |= entries[:, entry] >> dtype.type(width - shift)
    return words.astype(dtype.newbyteorder("<"), copy=False).tobytes()[: packed_bytes(len(vector_D), ring_bits)]


def unpack(data: bytes, length: int, ring_bits: int) -> RingArray:
    """Undo `pack`; `data` holds exactly `packed_bytes(length, ring_bits)` bytes. The array is the caller's own."""
    dtype = ring_dtype(ring_bits)
    width = 8 * dtype.itemsize
    if ring_bits == width:
        return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype)
    groups = -(-length // width)
    padded = data.ljust(groups * ring_bits * dtype.itemsize, b"\0")
    words = np.frombuffer(padded, dtype.newbyteorder("<")).astype(dtype, copy=False).reshape(groups, ring_bits)
    entries: RingArray = np.empty((groups, width), dtype)
    for entry, word, shift in _pattern(ring_bits, width):
        entries[:, entry] = words[:, word] >> dtype.type(shift)
        if shift + ring_bits > width:
            entries[:, entry] |= words[:, word + 1] << dtype.type(width - shift)
    vector_D = entries.reshape(-1)[:length]
    reduce(vector_D, ring_bits)
    return vector_D


def _pattern(ring_bits: int, width: int) -> Iterator[tuple[int, int, int]]:
    """For each of `width` entries: its index, the word where it starts, and at which bit."""
    for entry in range(width):
        yield entry, *divmod(entry * ring_bits, width)
