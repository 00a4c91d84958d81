import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fedkd.data.adapt import adapt_images, resize_images
from fedkd.errors import DataError

COLOUR = hnp.arrays(np.uint8, (2, 3, 5, 4))


@given(COLOUR)
def test_colour_to_grey_agrees_with_pillow(images):
    grey = adapt_images(images, (1, 5, 4))
    for row in range(2):
        pillow = Image.fromarray(np.ascontiguousarray(images[row].transpose(1, 2, 0))).convert("L")
        assert np.array_equal(grey[row, 0], np.asarray(pillow))


@given(COLOUR, st.integers(1, 9), st.integers(1, 9))
def test_resizing_agrees_with_pillow_on_whole_colour_images(images, height, width):
    resized = resize_images(images, height, width)
    for row in range(2):
        image = Image.fromarray(np.ascontiguousarray(images[row].transpose(1, 2, 0)))
        pillow = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
        assert np.array_equal(resized[row], pillow.transpose(2, 0, 1))


@given(hnp.arrays(np.uint8, (2, 1, 5, 4)))
def test_grey_to_colour_and_back_is_the_identity(images):
    colour = adapt_images(images, (3, 5, 4))
    assert np.array_equal(colour, np.repeat(images, 3, axis=1))
    assert np.array_equal(adapt_images(colour, (1, 5, 4)), images)


def test_images_that_fit_come_back_untouched():
    images = np.zeros((2, 2, 5, 4), dtype=np.uint8)
    assert adapt_images(images, (2, 5, 4)) is images


@pytest.mark.parametrize("target", [(2, 5, 4), (4, 5, 4), (3, 0, 4), (0, 5, 4)])
def test_impossible_targets_are_refused(target):
    with pytest.raises(DataError, match="allowed"):
        adapt_images(np.zeros((1, 3, 5, 4), dtype=np.uint8), target)
