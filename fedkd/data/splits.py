"""Which training samples become test, public and private: pure functions of sizes and a seed.

Nothing here sees a label or a pixel, so no split can favour a class.
"""

from __future__ import annotations

import math

import numpy as np

from fedkd.errors import DataError
from fedkd.seeding import numpy_rng
from fedkd.types import IntArray

TEST_SHARE = 0.2
"""Share of the samples to hold out for test where the source has no test split and no size is given; rounded up."""


def default_test_size(num_samples: int) -> int:
    """Return how many of `num_samples` to hold out for test: 20 %, rounded up."""
    return math.ceil(num_samples * TEST_SHARE)


def draw(pool: IntArray, size: int, key: str, maximum: int, seed: int) -> tuple[IntArray, IntArray]:
    """Draw `size` of the indices in `pool` without replacement.

    Args:
        pool: indices.
        size: how many to draw.
        key: configuration key that holds the size (`data.public.size`); it names the random stream, too.
        maximum: the most that may be drawn.
        seed: root seed.

    Returns:
        The indices drawn, in random order, and those left, ascending.

    Raises:
        DataError: `size` exceeds `maximum`; the message names the key, the value and the maximum.
    """
    if size > maximum:
        raise DataError(f"{key} = {size} is not allowed: at most {max(maximum, 0)} of the {len(pool)} samples at hand")
    shuffled = numpy_rng(seed, "split", key).permutation(pool)
    return shuffled[:size], np.sort(shuffled[size:])
