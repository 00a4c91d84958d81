"""The sources by name.

digits                      scikit-learn's 1,797 digits of 8×8, no files needed
mnist, cifar10, …           what torchvision reads (`torchvision_sources.py`)
image_folder, npz           a user's files (`file_sources.py`)
jsonl                       a user's texts (`jsonl_source.py`)
huggingface:<dataset id>    the Hugging Face hub, or what `datasets.load_dataset` reads (`huggingface_source.py`)
package.module:factory      a user's own: a callable that takes the root, a `Path`, and returns a `Source`
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fedkd.data.file_sources import load_image_folder, load_npz
from fedkd.data.huggingface_source import load_huggingface
from fedkd.data.images import LabelledImages
from fedkd.data.jsonl_source import load_jsonl
from fedkd.data.source import Source
from fedkd.data.torchvision_sources import DIGIT_NAMES, TORCHVISION_SETS, load_torchvision
from fedkd.errors import DataError, nearest
from fedkd.types import import_from_path

__all__ = ["Source", "available_sources", "check_source_name", "load_source"]

_HUGGINGFACE = "huggingface:"

TEXT_SOURCES = frozenset({"jsonl"})
"""Names of sources that hold texts; all other names but a user's own stand for images."""


def available_sources() -> tuple[str, ...]:
    """Return the names that need nothing after them, in alphabetical order."""
    return tuple(sorted(["digits", "image_folder", "npz", *TEXT_SOURCES, *TORCHVISION_SETS]))


def check_source_name(name: str) -> None:
    """Refuse a name that no source can have; nothing is imported or read.

    Raises:
        DataError: an unknown name (the message has the nearest valid one), or an import path of another form.
    """
    known = available_sources()
    if name in known:
        return
    if name.startswith(_HUGGINGFACE):
        if name == _HUGGINGFACE:
            raise DataError(f"source {name!r} lacks the dataset id; allowed: 'huggingface:<dataset id>'")
    elif ":" in name:
        _check_import_path(name)
    else:
        raise DataError(
            f"source {name!r} is unknown{nearest(name, known)}; allowed: {', '.join(known)}, "
            "'huggingface:<dataset id>', or your own as 'package.module:factory'"
        )


def load_source(name: str, root: Path, image_size: int | None = None) -> Source:
    """Read a source.

    Args:
        name: see the top of this file.
        root: folder of its files (`npz`, `jsonl`: the file); `digits` needs none.
        image_size: height and width to resize all images to; `None` leaves them as they are.

    Raises:
        DataError: the name is unknown, or the files are missing or unfit.
    """
    check_source_name(name)
    source = _read(name, root, image_size)
    return source if image_size is None else source.resized(image_size)


def _read(name: str, root: Path, image_size: int | None) -> Source:
    if name.startswith(_HUGGINGFACE):
        return load_huggingface(name.removeprefix(_HUGGINGFACE), root, image_size)
    if name in TEXT_SOURCES:
        return load_jsonl(root)
    if ":" in name:
        return _load_users_own(name, root)
    if name in TORCHVISION_SETS:
        return load_torchvision(name, root)
    if name == "image_folder":
        return load_image_folder(root, image_size)
    return load_npz(root) if name == "npz" else _load_digits()


def _load_digits() -> Source:
    """Return scikit-learn's digits; their 17 grey levels are spread over 0 to 255 and rounded."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images_NCHW = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]
    train = LabelledImages(images_NCHW, digits.target.astype(np.int64))
    return Source(train, None, len(DIGIT_NAMES), DIGIT_NAMES)


def _load_users_own(path: str, root: Path) -> Source:
    factory = import_from_path(path, DataError)
    if not callable(factory):
        raise DataError(f"source {path!r} is a {type(factory).__name__}; allowed: a callable (root: Path) -> Source")
    source = factory(root)
    if not isinstance(source, Source):
        raise DataError(f"source {path!r} returned a {type(source).__name__}; allowed: a fedkd.data.Source")
    return source


def _check_import_path(name: str) -> None:
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), attribute]):
        raise DataError(f"source {name!r} is no import path; allowed: 'package.module:factory'")
