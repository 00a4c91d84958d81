import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from fedkd.data.images import LabelledImages, public_digest, to_float
from fedkd.errors import DataError

LABELS = np.array([0, 1], dtype=np.int64)
IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        (IMAGES.astype(np.float32), LABELS, "images_NCHW is a float32 array"),
        (IMAGES[0], LABELS, r"shape \(3, 4, 5\)"),
        (IMAGES[:, :0], LABELS, "at least 1"),
        (IMAGES.tolist(), LABELS, "images_NCHW is a list"),
        (IMAGES, LABELS.astype(np.int32), "labels_N is a int32 array"),
        (IMAGES, LABELS[:, None], r"shape \(2, 1\)"),
        (IMAGES, [0, 1], "labels_N is a list"),
        (IMAGES, LABELS[:1], "1 labels for 2 images"),
        (IMAGES, LABELS - 1, "holds -1"),
    ],
)
def test_labelled_images_refuse_what_does_not_fit(images, labels, match):
    with pytest.raises(DataError, match=match):
        LabelledImages(images, labels)


def test_take_returns_copies_in_the_order_asked():
    data = LabelledImages(IMAGES.copy(), LABELS.copy())
    taken = data.take(np.array([1, 0, 1]))
    assert len(taken) == 3
    assert taken.labels_N.tolist() == [1, 0, 1]
    assert np.array_equal(taken.images_NCHW, IMAGES[[1, 0, 1]])
    taken.images_NCHW[:] = 0
    assert np.array_equal(data.images_NCHW, IMAGES)
    assert data.input_shape == (3, 4, 5)


def test_public_digest_is_sha256_over_shape_dtype_and_bytes():
    expected = hashlib.sha256(b"(2, 3, 4, 5)|u1" + IMAGES.tobytes()).hexdigest()
    assert public_digest(IMAGES) == expected
    assert public_digest(np.asfortranarray(IMAGES)) == expected


def test_digests_tell_shape_pixels_order_and_labels_apart():
    data = LabelledImages(IMAGES, LABELS)
    assert data.digest() == LabelledImages(IMAGES.copy(), LABELS.copy()).digest()
    assert data.digest() != LabelledImages(IMAGES, LABELS[::-1].copy()).digest()
    others = [IMAGES.reshape(2, 3, 5, 4), IMAGES[::-1], IMAGES + np.uint8(1)]
    assert len({public_digest(images) for images in [IMAGES, *others]}) == 4


@given(st.integers(0, 255))
def test_to_float_agrees_with_torchvision(level):
    import torch

    grey = np.full((1, 1, 2, 2), level, dtype=np.uint8)
    reference = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.5])])(torch.from_numpy(grey))
    floats = to_float(grey)
    assert floats.dtype == np.float32
    np.testing.assert_allclose(floats, reference.numpy(), atol=1e-6)


def test_to_float_spans_minus_one_to_one():
    assert to_float(np.array([[[[0, 255]]]], dtype=np.uint8)).tolist() == [[[[-1.0, 1.0]]]]
