"""Labelled images as plain arrays, their fingerprint, and the floats that models see.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fedkd.data.arrays import check_labels, described, sha256_of
from fedkd.errors import DataError
from fedkd.types import ByteArray, FloatArray, InputShape, IntArray


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and their labels, checked once, here.

    The arrays are shared between clients of one process: read them, never write to them.

    Args:
        images_NCHW: grey levels 0 to 255, uint8.
        labels_N: class of each image, int64, not negative.

    Raises:
        DataError: a wrong dtype, a wrong number of dimensions, an empty image, different lengths, a negative label.
    """

    images_NCHW: ByteArray
    labels_N: IntArray

    def __post_init__(self) -> None:
        check_images(self.images_NCHW)
        check_labels(self.labels_N, len(self.images_NCHW), "images")

    def __len__(self) -> int:
        return len(self.labels_N)

    @property
    def inputs(self) -> ByteArray:
        """What a model's input is made of: the grey levels."""
        return self.images_NCHW

    @property
    def input_shape(self) -> InputShape:
        """Channels, height, width of each image."""
        channels, height, width = self.images_NCHW.shape[1:]
        return channels, height, width

    def take(self, indices: IntArray) -> LabelledImages:
        """Return copies of the rows at `indices`, in that order."""
        return LabelledImages(self.images_NCHW[indices], self.labels_N[indices])

    def digest(self) -> str:
        """Return the SHA-256 over shape, dtype and bytes of images and labels, as 64 hexadecimal digits."""
        return sha256_of(self.images_NCHW, self.labels_N.astype("<i8"))


def check_images(images_NCHW: Any) -> None:
    """Refuse anything but a uint8 array of shape (N, C, H, W) with C, H and W at least 1.

    Raises:
        DataError: `images_NCHW` is something else; the message says what.
    """
    fits = isinstance(images_NCHW, np.ndarray) and images_NCHW.dtype == np.uint8 and images_NCHW.ndim == 4
    if not fits or 0 in images_NCHW.shape[1:]:
        raise DataError(
            f"images_NCHW is {described(images_NCHW)}; allowed: a uint8 array of shape (N, C, H, W), C, H, W at least 1"
        )


def public_digest(images_NCHW: ByteArray) -> str:
    """Return the SHA-256 over shape, dtype and bytes of the public images, as 64 hexadecimal digits.

    Labels are left out: client and server hold the same public set when they see the same images in the same order.
    """
    check_images(images_NCHW)
    return sha256_of(images_NCHW)


def to_float(images_NCHW: ByteArray) -> FloatArray:
    """Return what models see: `(x / 255 - 0.5) / 0.5`, so black is -1 and white is 1.

    One fixed scale for every source keeps statistics of private data out of what clients share.

    Returns:
        float32, [N, C, H, W], in [-1, 1].
    """
    check_images(images_NCHW)
    unit: FloatArray = images_NCHW.astype(np.float32) / np.float32(255)
    return (unit - np.float32(0.5)) / np.float32(0.5)
