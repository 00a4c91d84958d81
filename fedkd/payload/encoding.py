"""Encodings of logits on the wire.

| encoding | bytes a logit | error of one logit |
| --- | --- | --- |
| float32 | 4 | none |
| float16 | 2 | relative 2^-11, or 2^-25 where that is more; beyond ±65,504 refused |
| int8 | 1 | half a step, max|z| / 254; one scale per message |
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fedkd.errors import PayloadError
from fedkd.types import FloatArray

Encoding = Literal["float32", "float16", "int8"]
INT8_LEVELS = 127
FLOAT16_MAX = float(np.finfo(np.float16).max)


class EncodedLogits(NamedTuple):
    """Numbers as sent; a logit is `data · scale`."""

    data: npt.NDArray[np.generic]
    scale: float


def require_finite(logits_NC: FloatArray) -> None:
    """Refuse what cannot be averaged.

    Raises:
        PayloadError: NaN or infinity.
    """
    if not np.isfinite(logits_NC).all():
        raise PayloadError("not_finite", "logits_NC holds NaN or infinity; only finite logits can be averaged")


def encode_logits(logits_NC: FloatArray, encoding: Encoding) -> EncodedLogits:
    """Encode finite logits.

    Raises:
        PayloadError: NaN or infinity, which integer casts would turn into numbers silently; or beyond float16's range.
    """
    require_finite(logits_NC)
    if encoding == "float32":
        return EncodedLogits(np.ascontiguousarray(logits_NC, dtype=np.float32), 1.0)
    largest = float(np.abs(logits_NC).max(initial=0.0))
    if encoding == "float16":
        if largest > FLOAT16_MAX:
            raise PayloadError("range", f"largest logit {largest:g} exceeds float16's {FLOAT16_MAX:g}; clip first")
        return EncodedLogits(logits_NC.astype(np.float16), 1.0)
    scale = largest / INT8_LEVELS or 1.0
    levels = np.rint(logits_NC / np.float64(scale))  # float64, in which the scale of the smallest logits is not zero
    return EncodedLogits(levels.astype(np.int8), scale)


def decode_logits(encoded: EncodedLogits, encoding: Encoding) -> FloatArray:
    """Decode what `encode_logits` made.

    Raises:
        PayloadError: the dtype is not the encoding's, or the scale is not a positive finite number.
    """
    if encoded.data.dtype != np.dtype(encoding):
        raise PayloadError("dtype", f"logits came as {encoded.data.dtype}; payload.encoding asks for {encoding}")
    if not (np.isfinite(encoded.scale) and encoded.scale > 0):
        raise PayloadError("scale", f"scale = {encoded.scale}; a positive finite number")
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which validation refuses by name
        return np.asarray(encoded.data.astype(np.float64) * encoded.scale, dtype=np.float32)
