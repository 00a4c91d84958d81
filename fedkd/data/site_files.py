"""What lies in one folder of a site or of its server: images with classes, or the public set without.

An `.npz` file, or a folder that holds one: the arrays `images` and `labels`; a public set needs no labels.
Any other folder: `<class>/*.png` or `*.jpg`; of a public set, all images in it and below, in the order of their paths.

Arrays are uint8, N×H×W or N×H×W×C; labels are integers from 0.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedkd.data.adapt import resize_images
from fedkd.data.file_sources import npz_images, npz_labels, read_class_folders, read_npz
from fedkd.data.image_files import list_image_files, read_image, stack_images
from fedkd.data.images import LabelledImages
from fedkd.errors import DataError, nearest
from fedkd.types import ByteArray, IntArray

IMAGES, LABELS = "images", "labels"
"""Keys of an archive."""


@dataclass(frozen=True, eq=False)
class FoundImages:
    """Images and classes as they lie on disk.

    Args:
        path: where they lie.
        images: images and labels.
        class_names: names of the class folders, in the order of the labels; `None` where labels are numbers already.
    """

    path: Path
    images: LabelledImages
    class_names: tuple[str, ...] | None

    def counts(self) -> dict[str, int]:
        """Number of images by class; an archive's classes are named by their numbers."""
        numbers = np.bincount(self.images.labels_N)
        names = self.class_names or tuple(str(label) for label in range(len(numbers)))
        return {name: int(count) for name, count in zip(names, numbers, strict=True) if count}

    def under(self, class_names: Sequence[str]) -> LabelledImages:
        """The same images, labelled by position in `class_names`.

        Raises:
            DataError: a class that is not among them.
        """
        if self.class_names is None:
            largest = int(self.images.labels_N.max())
            if largest >= len(class_names):
                raise DataError(
                    f"npz file {str(self.path)!r} holds label {largest}; allowed: 0 to {len(class_names) - 1}, "
                    "one for each of data.classes"
                )
            return self.images
        for name in self.class_names:
            if name not in class_names:
                raise DataError(f"{self.path / name} is none of data.classes{nearest(name, class_names)}")
        position = np.array([list(class_names).index(name) for name in self.class_names], dtype=np.int64)
        return LabelledImages(self.images.images_NCHW, position[self.images.labels_N])


def read_labelled(path: Path, image_size: int | None) -> FoundImages:
    """Read images with their classes.

    Args:
        path: see the top of this file.
        image_size: height and width to resize to; `None` demands images of one size.

    Raises:
        DataError: nothing there, nothing in it, or not to be read; the message names the path.
    """
    archive = _archive(path)
    if archive is None:
        images, class_names = read_class_folders(path, image_size)
        return FoundImages(path, images, class_names)
    images_NCHW, labels_N = _read_archive(archive, image_size)
    if labels_N is None:
        raise DataError(f"npz file {str(archive)!r} lacks the key {LABELS!r}; allowed: {IMAGES!r} and {LABELS!r}")
    return FoundImages(archive, LabelledImages(images_NCHW, labels_N), None)


def read_public(path: Path, image_size: int | None) -> tuple[ByteArray, IntArray | None]:
    """Read a public set; raises as `read_labelled` does.

    Returns:
        uint8 images, [N, C, H, W], and their labels, [N], where the archive has them.
    """
    archive = _archive(path)
    if archive is not None:
        return _read_archive(archive, image_size)
    files = list_image_files(path, recursive=True)
    if not files:
        raise DataError(f"public folder {str(path)!r} holds no images; expected *.png, *.jpg, or one .npz")
    names = [str(file) for file in files]
    return stack_images([read_image(file) for file in files], names, image_size), None


def _archive(path: Path) -> Path | None:
    """The archive that a path stands for; `None` for a folder of images."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise DataError(f"path {str(path)!r} does not exist; allowed: a folder of images, or an .npz file")
    archives = sorted(path.glob("*.npz"))
    if len(archives) > 1:
        raise DataError(f"folder {str(path)!r} holds {len(archives)} .npz files; allowed: one")
    return archives[0] if archives else None


def _read_archive(path: Path, image_size: int | None) -> tuple[ByteArray, IntArray | None]:
    arrays = read_npz(path)
    if IMAGES not in arrays:
        raise DataError(f"npz file {str(path)!r} lacks the key {IMAGES!r}; it holds {sorted(arrays)}")
    images_NCHW = npz_images(arrays[IMAGES], IMAGES, path)
    if not len(images_NCHW):
        raise DataError(f"npz file {str(path)!r} holds no images; allowed: at least one")
    if image_size is not None:
        images_NCHW = resize_images(images_NCHW, image_size, image_size)
    labels_N = npz_labels(arrays[LABELS], LABELS, len(images_NCHW), path) if LABELS in arrays else None
    return images_NCHW, labels_N


def write_archive(path: Path, images_NCHW: ByteArray, labels_N: IntArray | None = None) -> None:
    """Write an archive that the readers above read back, and make its folder.

    Raises:
        DataError: the disk refuses.
    """
    arrays: dict[str, Any] = {IMAGES: images_NCHW.transpose(0, 2, 3, 1)}
    if labels_N is not None:
        arrays[LABELS] = labels_N
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **arrays)
    except OSError as cause:
        raise DataError(f"cannot write {path} ({cause.strerror})") from cause
