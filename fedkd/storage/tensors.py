"""Named arrays in one safetensors file, with no torch on either side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from fedkd.errors import RunFolderError
from fedkd.storage.files import naming_failures, read_bytes

Arrays = Mapping[str, npt.NDArray[np.generic]]


def pack(arrays: Arrays, metadata: Mapping[str, str]) -> bytes:
    """Return the arrays and their metadata as the bytes of a safetensors file.

    Raises:
        RunFolderError: an array's dtype has no safetensors form, or the metadata are not text.
    """
    # safetensors reads raw memory: a transposed view would come back with its values in another order.
    in_row_order = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    try:
        return _in_fixed_order(safetensors.numpy.save(in_row_order, dict(metadata)))
    except (SafetensorError, TypeError, ValueError) as cause:
        raise RunFolderError(f"the arrays cannot be written as safetensors: {cause}") from cause


def _in_fixed_order(packed: bytes) -> bytes:
    """The same file with its metadata sorted: the library writes them in another order in every process.

    Format: 8 bytes length, little endian; that many bytes of JSON, padded with spaces; the data.
    """
    length = int.from_bytes(packed[:8], "little")
    header = json.loads(packed[8 : 8 + length])
    if "__metadata__" in header:
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + packed[8 + length :]


def unpack(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays by name; they are the caller's own and may be written to.

    Raises:
        RunFolderError: the file is missing, cannot be read, or is not safetensors.
    """
    return unpack_bytes(read_bytes(path), path)


def unpack_bytes(content: bytes, path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Return the arrays of what was read from `path`; see `unpack`."""
    try:
        return {name: array.copy() for name, array in safetensors.numpy.load(content).items()}
    except SafetensorError as cause:
        raise RunFolderError(f"{path} is not a safetensors file: {cause}") from cause


def unpack_metadata(path: Path) -> dict[str, str]:
    """Return the metadata alone; the arrays are not read.

    Raises:
        RunFolderError: the file is missing, cannot be read, or is not safetensors.
    """
    try:
        with naming_failures("read", path), safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except SafetensorError as cause:
        raise RunFolderError(f"{path} is not a safetensors file: {cause}") from cause
