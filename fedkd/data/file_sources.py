"""Sources that a user has on disk: class folders of image files, and NumPy archives.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.data.image_files import list_image_files, read_image, stack_images
from fedkd.data.images import LabelledImages
from fedkd.data.source import Source
from fedkd.errors import DataError, nearest
from fedkd.types import ByteArray, IntArray


def load_image_folder(root: Path, image_size: int | None) -> Source:
    """Read `root/train/<class>/*` and `root/test/<class>/*`, or `root/<class>/*` without a test split.

    Classes are the names of the training folders, in alphabetical order. A `train` folder alone is a source without
    a test split.

    Args:
        root: the folder.
        image_size: height and width to resize to while reading; `None` demands images of one size.

    Raises:
        DataError: no such folder, no classes, a class without images, a test class that is no training class,
            images of different sizes.
    """
    has_train, has_test = (root / "train").is_dir(), (root / "test").is_dir()
    if has_test and not has_train:
        raise DataError(
            f"image folder {str(root)!r} holds test/ but no train/; allowed: both, train/ alone, or neither"
        )
    train_folder = root / "train" if has_train else root
    train, class_names = read_class_folders(train_folder, image_size)
    test = None
    if has_test:
        test = _read_classes(root / "test", _class_folders(root / "test"), class_names, image_size)
    return Source(train, test, len(class_names), class_names)


def read_class_folders(folder: Path, image_size: int | None) -> tuple[LabelledImages, tuple[str, ...]]:
    """Read `folder/<class>/*`; returns images labelled by position in the names of the classes, and those names.

    Raises:
        DataError: as `load_image_folder` does.
    """
    class_names = _class_folders(folder)
    return _read_classes(folder, class_names, class_names, image_size), class_names


def _class_folders(folder: Path) -> tuple[str, ...]:
    names = sorted(path.name for path in folder.iterdir() if _is_class(path)) if folder.is_dir() else []
    if not names:
        raise DataError(
            f"image folder {str(folder)!r} holds no class folders; expected {folder}/<class>/*.png or *.jpg"
        )
    return tuple(names)


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")


def _read_classes(
    folder: Path, present: tuple[str, ...], class_names: tuple[str, ...], image_size: int | None
) -> LabelledImages:
    paths: list[Path] = []
    labels: list[int] = []
    for name in present:
        if name not in class_names:
            raise DataError(f"{folder / name} is a test class without training images{nearest(name, class_names)}")
        files = list_image_files(folder / name)
        if not files:
            raise DataError(f"class folder {str(folder / name)!r} holds no images; expected *.png or *.jpg")
        paths += files
        labels += [class_names.index(name)] * len(files)
    images_NCHW = stack_images([read_image(path) for path in paths], [str(path) for path in paths], image_size)
    return LabelledImages(images_NCHW, np.array(labels, dtype=np.int64))


NPZ_KEYS = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: Path) -> Source:
    """Read a NumPy archive with `x_train`, `y_train`, `x_test` and `y_test`.

    Images are uint8, [N, H, W] or [N, H, W, C] with C = 1 or 3; labels are integers from 0, [N]. Classes are named
    by their numbers.

    Raises:
        DataError: no such file, a key missing, a wrong dtype or shape; the message names the key and what is allowed.
    """
    arrays = read_npz(path)
    missing = [key for key in NPZ_KEYS if key not in arrays]
    if missing:
        raise DataError(
            f"npz file {str(path)!r} lacks the key {missing[0]!r}; it holds {sorted(arrays)}, allowed: {list(NPZ_KEYS)}"
        )
    train, test = (
        LabelledImages(
            npz_images(arrays[f"x_{split}"], f"x_{split}", path),
            npz_labels(arrays[f"y_{split}"], f"y_{split}", len(arrays[f"x_{split}"]), path),
        )
        for split in ("train", "test")
    )
    num_classes = 1 + int(max(data.labels_N.max(initial=0) for data in (train, test)))
    return Source(train, test, num_classes, tuple(str(label) for label in range(num_classes)))


def read_npz(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    """Return all arrays of a NumPy archive; pickled objects are refused.

    Raises:
        DataError: the file is missing or no such archive.
    """
    try:
        with zipfile.ZipFile(path):  # np.load would also take a bare array, or a pickle
            pass
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as cause:
        raise DataError(f"npz file {str(path)!r} cannot be read ({cause}); expected a file by np.savez") from cause


def npz_images(images: npt.NDArray[Any], key: str, path: Path) -> ByteArray:
    """Return the images under `key` as uint8, [N, C, H, W].

    Raises:
        DataError: another dtype, or a shape other than [N, H, W], [N, H, W, 1] or [N, H, W, 3].
    """
    grey = images.ndim == 3
    if images.dtype != np.uint8 or not (grey or (images.ndim == 4 and images.shape[3] in (1, 3))):
        raise DataError(
            f"npz file {str(path)!r}: {key} is a {images.dtype} array of shape {images.shape}; "
            "allowed: uint8, N×H×W or N×H×W×C with C 1 or 3"
        )
    channels_first = images[:, None] if grey else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channels_first)


def npz_labels(labels: npt.NDArray[Any], key: str, num_images: int, path: Path) -> IntArray:
    """Return the labels under `key` as int64, [N].

    Raises:
        DataError: another dtype, or not one for each image.
    """
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (num_images,):
        raise DataError(
            f"npz file {str(path)!r}: {key} is a {labels.dtype} array of shape {labels.shape}; "
            f"allowed: integers of shape ({num_images},), one for each image"
        )
    return labels.astype(np.int64)
