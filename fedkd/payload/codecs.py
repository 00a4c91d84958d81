"""Codecs: the values of rows as bytes on the wire, and back.

| name | bytes a value | error of one value |
| --- | --- | --- |
| float32 | 4 | none |
| float16 | 2 | relative 2^-11, or 2^-25 where that is more; beyond ±65,504 refused |
| int8 | 1 | half a step, max|z| / 254; one scale a message |

A codec of your own gets and returns values only: keys and weights travel beside them, if at all. A codec may remember:
its memory, named arrays, is what `encode` returned for this client's last message that was used. The receiver's memory
is what `decode` returned for the same message, so that both ends always agree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.errors import PayloadError
from fedkd.payload.rows import Arrays, Rows
from fedkd.types import FloatArray, IntArray

INT8_LEVELS = 127
FLOAT16_MAX = float(np.finfo(np.float16).max)


class Codec(ABC):
    """Both ends of an encoding. The memory of one that depends on no earlier message stays empty."""

    @abstractmethod
    def encode(self, rows: Rows, memory: Arrays) -> tuple[Arrays, Arrays]:
        """Return the arrays to send, and what to remember.

        Raises:
            PayloadError: values that the encoding cannot hold.
        """

    @abstractmethod
    def decode(self, wire: Arrays, keys_N: IntArray, width: int, memory: Arrays) -> tuple[FloatArray, Arrays]:
        """Return the values [N, D], and what to remember.

        Args:
            wire: the arrays that came; whatever a hostile sender has put into them.
            keys_N: the keys that have values.
            width: D.
            memory: what the last `decode` for this sender returned; empty at first.

        Raises:
            PayloadError: the arrays are not what `encode` makes. Shape and finiteness of the result are checked by the
                caller.
        """


class Float32(Codec):
    """The values as they are."""

    def encode(self, rows: Rows, memory: Arrays) -> tuple[Arrays, Arrays]:
        """Nothing is lost."""
        return {"values": np.ascontiguousarray(rows.values_ND, np.float32)}, memory

    def decode(self, wire: Arrays, keys_N: IntArray, width: int, memory: Arrays) -> tuple[FloatArray, Arrays]:
        """The values again."""
        del keys_N, width
        return array_of(wire, "values", np.float32), memory


class Float16(Codec):
    """Half precision."""

    def encode(self, rows: Rows, memory: Arrays) -> tuple[Arrays, Arrays]:
        """Round to half precision."""
        largest = float(np.abs(rows.values_ND).max(initial=0.0))
        if largest > FLOAT16_MAX:
            raise PayloadError("range", f"largest value {largest:g} exceeds float16's {FLOAT16_MAX:g}; clip first")
        return {"values": rows.values_ND.astype(np.float16)}, memory

    def decode(self, wire: Arrays, keys_N: IntArray, width: int, memory: Arrays) -> tuple[FloatArray, Arrays]:
        """The rounded values."""
        del keys_N, width
        return array_of(wire, "values", np.float16).astype(np.float32), memory


class Int8(Codec):
    """Whole numbers from −127 to 127, times one scale for the message."""

    def encode(self, rows: Rows, memory: Arrays) -> tuple[Arrays, Arrays]:
        """Round to the nearest level."""
        scale = float(np.abs(rows.values_ND).max(initial=0.0)) / INT8_LEVELS or 1.0
        levels = np.rint(rows.values_ND / np.float64(scale))  # float64, in which no scale is rounded to zero
        return {"values": levels.astype(np.int8), "scale": np.array([scale])}, memory

    def decode(self, wire: Arrays, keys_N: IntArray, width: int, memory: Arrays) -> tuple[FloatArray, Arrays]:
        """Level times scale."""
        del keys_N, width
        scales = array_of(wire, "scale", np.float64)
        if scales.shape != (1,) or not (np.isfinite(scales).all() and scales[0] > 0):
            raise PayloadError("scale", f"scale is {scales.ravel()[:3]}; one positive finite number")
        with np.errstate(over="ignore"):  # an overflow becomes infinity, which the check of the rows refuses by name
            return (array_of(wire, "values", np.int8).astype(np.float64) * scales[0]).astype(np.float32), memory


def array_of(wire: Arrays, name: str, dtype: type[np.generic]) -> npt.NDArray[Any]:
    """An array of a message, of the dtype that the encoding has.

    Raises:
        PayloadError: it is missing, or of another dtype.
    """
    if name not in wire:
        raise PayloadError("missing", f"no array {name!r} in the encoded rows")
    if wire[name].dtype != np.dtype(dtype):
        raise PayloadError("dtype", f"{name} came as {wire[name].dtype}; payload.encoding asks for {np.dtype(dtype)}")
    return wire[name]


CODECS: Mapping[str, Callable[..., Codec]] = MappingProxyType({"float32": Float32, "float16": Float16, "int8": Int8})
"""What `payload.encoding` takes, besides import paths."""
