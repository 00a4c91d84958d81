"""Fit images to the input shape of a model: channels and size.

Guarantees:
    - Deterministic: the same images and shape give the same bytes.
    - Images that already fit come back as they are.
    - Grey to RGB repeats the one channel; RGB to grey is ITU-R BT.601 luma, as Pillow rounds it.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from fedkd.data.images import check_images
from fedkd.errors import DataError
from fedkd.types import ByteArray, InputShape

_LUMA_65536THS = np.array([19595, 38470, 7471], dtype=np.uint32)
"""0.299, 0.587 and 0.114 (ITU-R BT.601) in 65,536ths; they sum to 65,536."""


def adapt_images(images_NCHW: ByteArray, target: InputShape) -> ByteArray:
    """Return the images with `target`'s channels, height and width.

    Args:
        images_NCHW: uint8.
        target: channels (the images' own, 1 or 3), height, width.

    Raises:
        DataError: the channels cannot be converted, or a size is not positive.
    """
    check_images(images_NCHW)
    channels, height, width = target
    if min(target) < 1:
        raise DataError(f"target = {target} is not allowed: channels, height and width must be at least 1")
    given = images_NCHW.shape[1]
    if given == channels:
        return resize_images(images_NCHW, height, width)
    if (given, channels) == (3, 1):
        return resize_images(_luma(images_NCHW), height, width)
    if (given, channels) == (1, 3):
        return np.repeat(resize_images(images_NCHW, height, width), 3, axis=1)
    raise DataError(
        f"images of {given} channels cannot become {channels} channels; allowed: 1 to 3, 3 to 1, or no change"
    )


def resize_images(images_NCHW: ByteArray, height: int, width: int) -> ByteArray:
    """Return the images resized by Pillow's bilinear filter (with anti-aliasing where they shrink)."""
    samples, channels, old_height, old_width = images_NCHW.shape
    if (old_height, old_width) == (height, width):
        return images_NCHW
    resized = np.empty((samples * channels, height, width), dtype=np.uint8)
    for row, plane_HW in enumerate(images_NCHW.reshape(-1, old_height, old_width)):
        resized[row] = Image.fromarray(plane_HW).resize((width, height), Image.Resampling.BILINEAR)
    return resized.reshape(samples, channels, height, width)


def _luma(images_NCHW: ByteArray) -> ByteArray:
    weighted_NHW = np.einsum("nchw,c->nhw", images_NCHW.astype(np.uint32), _LUMA_65536THS)
    luma_NHW: ByteArray = ((weighted_NHW + 32768) >> 16).astype(np.uint8)
    return luma_NHW[:, None]
