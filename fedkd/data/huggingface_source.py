"""Image sets of the Hugging Face hub, and local ones that `datasets.load_dataset` reads.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.data.image_files import image_to_array, stack_images
from fedkd.data.images import LabelledImages
from fedkd.data.source import Source, one_line
from fedkd.errors import DataError
from fedkd.types import IntArray

LABEL_COLUMNS = ("label", "labels", "fine_label", "character")
NATURAL_ID_COLUMNS = ("natural_id", "client_id", "writer_id", "user_id")

_FILE_FORMATS = ("arrow", "imagefolder", "parquet", "webdataset")


def load_huggingface(dataset_id: str, root: Path, image_size: int | None) -> Source:
    """Read an image classification set with a `train` split, and its `test` split where it has one.

    Args:
        dataset_id: a hub id (`ylecun/mnist`) or a local folder, cached under `root`; or a file format
            (`imagefolder`, `parquet`, `arrow`, `webdataset`), whose files lie in `root`.
        root: see `dataset_id`.
        image_size: height and width to resize to while reading; `None` demands images of one size.

    The image column is the first one of images; the label column is one of `LABEL_COLUMNS`, or the only one of class
    labels; one of `NATURAL_ID_COLUMNS` says who a sample comes from.

    Raises:
        DataError: the set cannot be had, or lacks a `train` split, an image column or a label column.
    """
    splits = _load_dataset(dataset_id, root)
    if "train" not in splits:
        raise DataError(f"huggingface:{dataset_id} has the splits {sorted(splits)}; allowed: 'train', perhaps 'test'")
    image_column, label_column = _columns(splits["train"], dataset_id)
    train, test = (
        _labelled(splits[split], image_column, label_column, f"huggingface:{dataset_id}/{split}", image_size)
        if split in splits
        else None
        for split in ("train", "test")
    )
    if train is None:
        raise DataError(f"huggingface:{dataset_id} has no training samples")
    class_names = _class_names(splits["train"], label_column, [data for data in (train, test) if data is not None])
    return Source(train, test, len(class_names), class_names, _natural_ids(splits["train"]))


def _load_dataset(dataset_id: str, root: Path) -> Any:
    import datasets

    where = {"data_dir": str(root)} if dataset_id in _FILE_FORMATS else {"cache_dir": str(root)}
    try:
        return datasets.load_dataset(dataset_id, **where)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as cause:
        raise DataError(
            f"huggingface:{dataset_id} cannot be loaded with root {str(root)!r} ({one_line(cause)}); expected an "
            f"image set on the hub, a local folder, or one of {list(_FILE_FORMATS)} with its files in the root"
        ) from cause


def _columns(split: Any, dataset_id: str) -> tuple[str, str]:
    import datasets

    images = [name for name, feature in split.features.items() if isinstance(feature, datasets.Image)]
    classes = [name for name, feature in split.features.items() if isinstance(feature, datasets.ClassLabel)]
    labels = [name for name in LABEL_COLUMNS if name in split.features] or (classes if len(classes) == 1 else [])
    if not images or not labels:
        raise DataError(
            f"huggingface:{dataset_id} has the columns {split.features}; allowed: one of images, and one named "
            f"{' or '.join(LABEL_COLUMNS)} or the only one of class labels"
        )
    return images[0], labels[0]


def _labelled(split: Any, image_column: str, label_column: str, name: str, image_size: int | None) -> LabelledImages:
    if len(split) == 0:
        raise DataError(f"{name} holds no samples; allowed: at least one")
    names = [f"{name}[{row}]" for row in range(len(split))]
    images = [image_to_array(image, names[row]) for row, image in enumerate(split[image_column])]
    return LabelledImages(stack_images(images, names, image_size), _labels(split, label_column, name))


def _labels(split: Any, label_column: str, name: str) -> IntArray:
    labels = np.asarray(split[label_column][:])
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"{name}: column {label_column!r} holds {labels.dtype}; allowed: integers from 0")
    return labels.astype(np.int64)


def _class_names(split: Any, label_column: str, splits: list[LabelledImages]) -> tuple[str, ...]:
    import datasets

    feature = split.features[label_column]
    if isinstance(feature, datasets.ClassLabel):
        return tuple(feature.names)
    return tuple(str(label) for label in range(1 + int(max(data.labels_N.max() for data in splits))))


def _natural_ids(split: Any) -> npt.NDArray[Any] | None:
    column = next((name for name in NATURAL_ID_COLUMNS if name in split.features), None)
    return None if column is None else np.asarray(split[column][:])
