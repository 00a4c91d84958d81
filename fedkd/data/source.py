"""What a source of images or texts is: a training split, perhaps a test split, and the names of the classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.data.adapt import resize_images
from fedkd.data.images import LabelledImages
from fedkd.data.texts import LabelledTexts
from fedkd.errors import DataError


@dataclass(frozen=True, eq=False)
class Source:
    """Samples of one source, images or texts, before anything is held out or divided.

    Args:
        train: the training split.
        test: the test split, or `None` where the source has none and one is to be held out of `train`.
        num_classes: number of classes; labels are below it.
        class_names: one name a class, in the order of the labels.
        natural_ids_N: who each training sample comes from (integers or strings), or `None` where nobody knows.

    Raises:
        DataError: the parts do not fit together.
    """

    train: LabelledImages | LabelledTexts
    test: LabelledImages | LabelledTexts | None
    num_classes: int
    class_names: tuple[str, ...]
    natural_ids_N: npt.NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if len(self.class_names) != self.num_classes or self.num_classes < 1:
            raise DataError(f"class_names holds {len(self.class_names)} names for num_classes = {self.num_classes}")
        if len(self.train) == 0:
            raise DataError("train holds no samples; allowed: at least one")
        for split, data in (("train", self.train), ("test", self.test)):
            if data is not None and len(data) and data.labels_N.max() >= self.num_classes:
                raise DataError(f"{split} holds label {data.labels_N.max()}; allowed: 0 to {self.num_classes - 1}")
        if self.test is not None and _kind(self.test) != _kind(self.train):
            raise DataError(f"test holds {_kind(self.test)}, train {_kind(self.train)}; allowed: the same")
        if self.natural_ids_N is not None and np.shape(self.natural_ids_N) != (len(self.train),):
            raise DataError(
                f"natural_ids_N has shape {np.shape(self.natural_ids_N)}; "
                f"allowed: one id for each of {len(self.train)} training samples"
            )

    def resized(self, size: int) -> Source:
        """Return the same source with all images `size` pixels high and wide."""
        test = None if self.test is None else _resized(self.test, size)
        return replace(self, train=_resized(self.train, size), test=test)

    @property
    def holds_texts(self) -> bool:
        """Whether the samples are texts, not images."""
        return isinstance(self.train, LabelledTexts)


def one_line(cause: Exception) -> str:
    """Return what another library's error says, on one line."""
    return " ".join(str(cause).split())


def _kind(data: LabelledImages | LabelledTexts) -> str:
    return "texts" if isinstance(data, LabelledTexts) else f"images of shape {data.input_shape}"


def _resized(data: LabelledImages | LabelledTexts, size: int) -> LabelledImages:
    if isinstance(data, LabelledTexts):
        raise DataError(f"size = {size} is not allowed: the source holds texts, which have none")
    return LabelledImages(resize_images(data.images_NCHW, size, size), data.labels_N)
