"""Masks: a seed's AES-256-CTR keystream, added to a vector in place.

The keystream is made in blocks that fit a core's second cache, with the seeds in the inner loop: a block of the vector
stays in cache while all seeds pass over it, and no mask is ever held as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

RingArray = npt.NDArray[np.unsignedinteger[Any]]

BLOCK_BYTES = 128 * 1024
SEED_BYTES = 32
_CIPHER_BLOCK = 16


class Mask(NamedTuple):
    """What one seed adds to a vector, or takes from it."""

    seed: bytes
    negative: bool = False

    def inverse(self) -> Mask:
        """The mask that takes this one away."""
        return Mask(self.seed, not self.negative)


def pairwise_mask(seed: bytes, own: int, peer: int) -> Mask:
    """Client `own`'s half of a mask that it shares with `peer`: the smaller id adds it, the larger takes it away."""
    return Mask(seed, negative=own > peer)


def apply_masks(vector_D: RingArray, masks: Iterable[Mask]) -> None:
    """Add masks to a vector, in place, modulo 2^32 or 2^64 as its dtype says.

    Each seed is an AES-256 key and must mask one vector only: the counter starts at zero.
    """
    from_zero = modes.CTR(bytes(_CIPHER_BLOCK))
    streams = [
        (Cipher(algorithms.AES256(seed), from_zero).encryptor().update_into, np.subtract if negative else np.add)
        for seed, negative in masks
    ]
    zeros = memoryview(bytes(BLOCK_BYTES))
    buffer = bytearray(BLOCK_BYTES + _CIPHER_BLOCK - 1)
    dtype = vector_D.dtype.newbyteorder("<")
    words = BLOCK_BYTES // dtype.itemsize
    keystream = np.frombuffer(buffer, dtype=dtype, count=words)
    for start in range(0, len(vector_D), words):
        block = vector_D[start : start + words]
        if len(block) < words:
            zeros, keystream = zeros[: block.nbytes], keystream[: len(block)]
        for write_keystream, combine in streams:
            write_keystream(zeros, buffer)
            combine(block, keystream, block)


def keystream_bytes(seed: bytes, count: int) -> bytes:
    """The first `count` bytes of a seed's keystream."""
    return Cipher(algorithms.AES256(seed), modes.CTR(bytes(_CIPHER_BLOCK))).encryptor().update(bytes(count))
