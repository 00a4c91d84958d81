"""The image sets that torchvision reads, from its own files under a root folder.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedkd.data.images import LabelledImages
from fedkd.data.source import Source, one_line
from fedkd.errors import DataError
from fedkd.types import ByteArray

DIGIT_NAMES = tuple("0123456789")

_READ_ERRORS = (RuntimeError, OSError, EOFError, ValueError)


@dataclass(frozen=True)
class TorchvisionSet:
    """How torchvision names one image set.

    Args:
        factory: class in `torchvision.datasets`.
        expected: a file of it, relative to the root.
        emnist_split: which of EMNIST's splits, where it has several.
        train_by_name: whether the factory takes `split="train"` and not `train=True`.
        class_names: names of the classes, where torchvision has none or writes them differently.
        transposed: whether rows and columns of the files are swapped.
    """

    factory: str
    expected: str
    emnist_split: str | None = None
    train_by_name: bool = False
    class_names: tuple[str, ...] | None = None
    transposed: bool = False

    def arguments(self, train: bool) -> dict[str, Any]:
        """Return the keyword arguments that choose the training or the test split."""
        if self.train_by_name:
            return {"split": "train" if train else "test"}
        return {"train": train} | ({"split": self.emnist_split} if self.emnist_split else {})


def _emnist(split: str, class_names: tuple[str, ...] | None = None) -> TorchvisionSet:
    expected = f"EMNIST/raw/emnist-{split}-train-images-idx3-ubyte"
    return TorchvisionSet("EMNIST", expected, split, class_names=class_names, transposed=True)


TORCHVISION_SETS = {
    "mnist": TorchvisionSet("MNIST", "MNIST/raw/train-images-idx3-ubyte", class_names=DIGIT_NAMES),
    "fashion_mnist": TorchvisionSet("FashionMNIST", "FashionMNIST/raw/train-images-idx3-ubyte"),
    "kmnist": TorchvisionSet("KMNIST", "KMNIST/raw/train-images-idx3-ubyte"),
    "emnist": _emnist("balanced"),
    "emnist_bymerge": _emnist("bymerge"),
    "emnist_byclass": _emnist("byclass"),
    "emnist_digits": _emnist("digits", DIGIT_NAMES),
    "usps": TorchvisionSet("USPS", "usps.bz2", class_names=DIGIT_NAMES),
    "svhn": TorchvisionSet("SVHN", "train_32x32.mat", train_by_name=True, class_names=DIGIT_NAMES),
    "cifar10": TorchvisionSet("CIFAR10", "cifar-10-batches-py/data_batch_1"),
    "cifar100": TorchvisionSet("CIFAR100", "cifar-100-python/train"),
}


def load_torchvision(name: str, root: Path) -> Source:
    """Read one of `TORCHVISION_SETS` from `root`; what is not there is downloaded to it.

    EMNIST's files hold their images transposed; they come back upright, like MNIST's.

    Raises:
        DataError: the files are neither there nor to be had; the message names source, root and an expected file.
    """
    image_set = TORCHVISION_SETS[name]
    train, test = (_open(name, image_set, root, train) for train in (True, False))
    class_names = image_set.class_names or tuple(str(class_name) for class_name in train.classes)
    return Source(_labelled(train, image_set), _labelled(test, image_set), len(class_names), class_names)


def _open(name: str, image_set: TorchvisionSet, root: Path, train: bool) -> Any:
    import torchvision.datasets

    factory = getattr(torchvision.datasets, image_set.factory)
    try:
        return factory(root, download=False, **image_set.arguments(train))
    except _READ_ERRORS as missing:
        try:
            return factory(root, download=True, **image_set.arguments(train))
        except _READ_ERRORS as cause:
            raise DataError(
                f"source {name!r} cannot be read from root {str(root)!r} ({one_line(missing)}) nor downloaded "
                f"({one_line(cause)}); expected {root / image_set.expected}"
            ) from cause


def _labelled(dataset: Any, image_set: TorchvisionSet) -> LabelledImages:
    images_NCHW = _channels_first(np.asarray(dataset.data))
    if image_set.transposed:
        images_NCHW = images_NCHW.swapaxes(2, 3)
    labels = dataset.labels if hasattr(dataset, "labels") else dataset.targets
    return LabelledImages(np.ascontiguousarray(images_NCHW), np.asarray(labels, dtype=np.int64))


def _channels_first(images: ByteArray) -> ByteArray:
    if images.ndim == 3:
        return images[:, None]
    return images if images.shape[1] == 3 else images.transpose(0, 3, 1, 2)
