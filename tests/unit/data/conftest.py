"""Small images for the tests of fedkd.data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedkd.data.images import LabelledImages

MakeImages = Callable[..., LabelledImages]


@pytest.fixture
def make_images() -> MakeImages:
    """Factory of random images whose labels run through the classes."""

    def make(num: int = 12, num_classes: int = 3, channels: int = 1, size: int = 8, seed: int = 0) -> LabelledImages:
        rng = np.random.default_rng(seed)
        images = rng.integers(0, 256, size=(num, channels, size, size), dtype=np.uint8)
        return LabelledImages(images, np.arange(num, dtype=np.int64) % num_classes)

    return make
