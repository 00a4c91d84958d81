"""Image files and Pillow images to arrays.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fedkd.data.adapt import adapt_images
from fedkd.errors import DataError
from fedkd.types import ByteArray

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

_GREY_MODES = ("1", "L", "LA")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB")


def list_image_files(folder: Path, *, recursive: bool = False) -> list[Path]:
    """Return the PNG and JPEG files in `folder`, by name; with `recursive`, those of its subfolders too."""
    found = folder.rglob("*") if recursive else folder.iterdir()
    return sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())


def read_image(path: Path) -> ByteArray:
    """Return one image file as uint8, [C, H, W], with C = 1 for grey and 3 for colour; transparency is dropped.

    Raises:
        DataError: the file cannot be read as an image of 8 bits a channel; the message names it.
    """
    try:
        with Image.open(path) as image:
            return image_to_array(image, str(path))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, SyntaxError) as cause:
        raise DataError(f"image {str(path)!r} cannot be read ({cause}); allowed: PNG or JPEG") from cause


def image_to_array(image: Image.Image, name: str) -> ByteArray:
    """Return a Pillow image as uint8, [C, H, W]; `name` is what an error calls it.

    Raises:
        DataError: more than 8 bits a channel.
    """
    if image.mode in _GREY_MODES:
        return np.asarray(image.convert("L"))[None]
    if image.mode in _COLOUR_MODES:
        opaque = image.convert("RGBA") if image.mode in ("P", "PA") else image
        return np.ascontiguousarray(np.asarray(opaque.convert("RGB")).transpose(2, 0, 1))
    raise DataError(f"image {name!r} has mode {image.mode!r}; allowed: 8 bits a channel, grey or colour")


def stack_images(images: Sequence[ByteArray], names: Sequence[str], image_size: int | None) -> ByteArray:
    """Return images of [C, H, W] as one uint8 array, [N, C, H, W]; grey ones become RGB where any is colour.

    Args:
        images: at least one.
        names: what an error calls each of them.
        image_size: height and width to resize to; `None` demands that all have one size.

    Raises:
        DataError: two images differ in size and `image_size` is `None`.
    """
    channels = max(image.shape[0] for image in images)
    first = (image_size, image_size) if image_size else images[0].shape[1:]
    if image_size is None:
        for image, name in zip(images, names, strict=True):
            if image.shape[1:] != first:
                raise DataError(
                    f"image {name!r} is {_size(image)} pixels, image {names[0]!r} is {_size(images[0])}; "
                    "allowed: one size for all, or data.image_size to resize them"
                )
    return np.concatenate([adapt_images(image[None], (channels, first[0], first[1])) for image in images])


def _size(image_CHW: ByteArray) -> str:
    return f"{image_CHW.shape[1]}×{image_CHW.shape[2]}"
