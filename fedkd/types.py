"""Shapes, names and the two small base classes that every package shares. Imports no torch.

Shape legend, used as a suffix of array names throughout the package:

    K clients · N samples · C classes · H height · W width · L tokens of a text

(an image batch is `images_NCHW`, where that C is the number of channels).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from fedkd.errors import FedkdError

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
ByteArray = npt.NDArray[np.uint8]
TokenArray = npt.NDArray[np.uint16]

InputShape = tuple[int, int, int]
"""Channels, height, width of one image."""


class TextShape(NamedTuple):
    """What one text is to a model: so many tokens, each a number below the size of the vocabulary."""

    length: int
    vocabulary: int


PADDING_TOKEN = 0
"""The token that fills a short text up."""

SampleShape = InputShape | TextShape
"""The shape of one sample, an image or a text."""


class Section(BaseModel):
    """Base of every configuration section: unknown keys, NaN, infinities and values of another type are refused (an
    integer passes for a float); instances are frozen.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True)


def checked_by(check: Callable[[str], None]) -> Callable[[str], str]:
    """Make a validator of a configuration key from a check that raises our errors; pydantic wants `ValueError`."""

    def checked(name: str) -> str:
        try:
            check(name)
        except FedkdError as cause:
            raise ValueError(str(cause)) from cause
        return name

    return checked


def is_import_path(name: str) -> bool:
    """Whether a name has the form `package.module:attribute`; imports nothing."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def import_from_path(path: str, error: Callable[[str], FedkdError]) -> Any:
    """Import `package.module:attribute`.

    Args:
        path: absolute import path with exactly one colon.
        error: makes what is raised where the path cannot be followed, from a message.

    Raises:
        FedkdError: the module does not import, or lacks the attribute.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute or module_name.startswith("."):
        raise error(f"import path {path!r} is not of the form 'package.module:attribute'")
    try:
        module = importlib.import_module(module_name)
    except ImportError as cause:
        raise error(f"import path {path!r}: module {module_name!r} does not import ({cause})") from cause
    try:
        return getattr(module, attribute)
    except AttributeError as cause:
        raise error(f"import path {path!r}: module {module_name!r} has no attribute {attribute!r}") from cause
