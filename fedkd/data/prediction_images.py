"""Images that a user wants predictions for: one file, a folder, or a NumPy archive.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedkd.data.adapt import adapt_images
from fedkd.data.file_sources import npz_images, read_npz
from fedkd.data.image_files import list_image_files, read_image
from fedkd.errors import DataError
from fedkd.types import ByteArray, InputShape

PREDICTION_KEYS = ("images", "x_test")


def load_images(path: Path, input_shape: InputShape) -> tuple[list[str], ByteArray]:
    """Return names and images, fitted to a model's input shape.

    Args:
        path: a PNG or JPEG file; a folder of them, subfolders included; or an .npz file with the key `images`
            (or else `x_test`), uint8, N×H×W or N×H×W×C.
        input_shape: channels, height, width that the model takes.

    Returns:
        N names (paths relative to the folder, the file's name, or `key[row]`) and uint8 images, [N, C, H, W].

    Raises:
        DataError: nothing there, nothing in it, or not to be read; the message names the path.
    """
    if path.is_dir():
        files = list_image_files(path, recursive=True)
        if not files:
            raise DataError(f"folder {str(path)!r} holds no images; expected *.png, *.jpg or *.jpeg")
        names = [file.relative_to(path).as_posix() for file in files]
        return names, np.concatenate([adapt_images(read_image(file)[None], input_shape) for file in files])
    if not path.is_file():
        raise DataError(f"path {str(path)!r} does not exist; allowed: an image file, a folder of images, an .npz file")
    if path.suffix.lower() == ".npz":
        return _load_archive(path, input_shape)
    return [path.name], adapt_images(read_image(path)[None], input_shape)


def _load_archive(path: Path, input_shape: InputShape) -> tuple[list[str], ByteArray]:
    arrays = read_npz(path)
    key = next((key for key in PREDICTION_KEYS if key in arrays), None)
    if key is None:
        raise DataError(
            f"npz file {str(path)!r} holds the keys {sorted(arrays)}; allowed: {' or '.join(PREDICTION_KEYS)}"
        )
    images_NCHW = npz_images(arrays[key], key, path)
    if len(images_NCHW) == 0:
        raise DataError(f"npz file {str(path)!r}: {key} holds no images; allowed: at least one")
    return [f"{key}[{row}]" for row in range(len(images_NCHW))], adapt_images(images_NCHW, input_shape)
