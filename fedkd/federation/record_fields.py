"""Fields and arrays of Flower's records, read so that nothing a peer sends raises anything but a `PayloadError`."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, RecordDict

from fedkd.errors import PayloadError
from fedkd.payload import Arrays

EVALUATION = "evaluation"
"""The record of arrays that serve only the measurement."""

IndexArray = npt.NDArray[np.int32]
T = TypeVar("T")


def payload_bytes(content: RecordDict) -> int:
    """Bytes of arrays and byte strings; what serves only the measurement is left out."""
    records = (record for key, record in content.array_records.items() if key != EVALUATION)
    strings = sum(
        len(value)
        for record in content.config_records.values()
        for value in record.values()
        if isinstance(value, bytes)
    )
    return sum(map(_array_bytes, records)) + strings


def evaluation_bytes(content: RecordDict) -> int:
    """Bytes of arrays that serve only the measurement."""
    return _array_bytes(content.array_records.get(EVALUATION, ArrayRecord()))


def _array_bytes(record: ArrayRecord) -> int:
    return sum(len(array.data) for array in record.values())


def array_record(arrays: Arrays) -> ArrayRecord:
    """Pack named arrays."""
    return ArrayRecord({key: Array(np.asarray(array, order="C")) for key, array in arrays.items()})


def array_of(content: RecordDict, record: str, key: str) -> npt.NDArray[Any]:
    """Read one array.

    Raises:
        PayloadError: it is missing, or cannot be read.
    """
    try:
        array = content.array_records[record][key]
    except KeyError as cause:
        raise PayloadError("missing", f"no array {key!r} in record {record!r}") from cause
    return _numpy(array, f"{record}/{key}")


def _numpy(array: Array, name: str) -> npt.NDArray[Any]:
    try:
        values = array.numpy()
    except Exception as cause:  # the parser of NumPy's format raises many types on hostile bytes
        raise PayloadError("malformed", f"array {name!r} cannot be read ({cause})") from cause
    if not isinstance(values, np.ndarray):
        raise PayloadError("malformed", f"array {name!r} cannot be read (an archive, not an array)")
    return values


def arrays_of(content: RecordDict, record: str) -> dict[str, npt.NDArray[Any]]:
    """Read all arrays of a record that is there.

    Raises:
        PayloadError: it is no record of arrays, or one of them cannot be read.
    """
    if record not in content.array_records:
        raise PayloadError("malformed", f"record {record!r} holds no arrays")
    return {key: _numpy(array, f"{record}/{key}") for key, array in content.array_records[record].items()}


def field_of(content: RecordDict, record: str, key: str, kind: type[T]) -> T:
    """Read one field of a configuration record.

    Raises:
        PayloadError: it is missing, or of another type.
    """
    fields = content.config_records.get(record)
    if fields is None or key not in fields:
        raise PayloadError("missing", f"no field {key!r} in record {record!r}")
    value = fields[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise PayloadError("malformed", f"{record} field {key!r} is {value!r:.100}; a {kind.__name__}")
    return value
