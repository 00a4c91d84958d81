"""A source of texts: files of JSON lines, each an object with a `text` and a `label`.

    {"text": "Dear friend, …", "label": 1}

A label is an integer from 0 or a string, the same kind on all lines; classes are the distinct labels in ascending
order. Other keys are ignored, and so are blank lines. A file whose name ends in `.gz` is decompressed.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np

from fedkd.data.source import Source
from fedkd.data.texts import LabelledTexts, holds_half_a_pair
from fedkd.errors import DataError, nearest

SUFFIXES = (".jsonl", ".jsonl.gz")

_Label = int | str
_Sample = tuple[str, _Label]


def load_jsonl(root: Path) -> Source:
    """Read one file, or `train.jsonl` and `test.jsonl` of a folder, each of which may end in `.gz`.

    Args:
        root: the file; or the folder, of which the test split may be absent.

    Raises:
        DataError: no such file, or not to be read; a line that is no JSON, lacks a key or holds something else than
            a text and a label (the message names file and line); one class only; a test class that is no training
            class.
    """
    train_path = _in_folder(root, "train") if root.is_dir() else root
    if train_path is None:
        raise DataError(f"folder {str(root)!r} holds no texts; expected {root / 'train.jsonl'} or train.jsonl.gz")
    train = _read(train_path)
    classes = sorted({label for _, label in train}, key=lambda label: (isinstance(label, str), label))
    if len(classes) < 2:
        raise DataError(f"jsonl file {str(train_path)!r} holds the class {classes[0]!r} only; allowed: at least two")
    test_path = _in_folder(root, "test") if root.is_dir() else None
    test = None if test_path is None else _labelled(test_path, _read(test_path), classes)
    names = tuple(str(label) for label in classes)
    return Source(_labelled(train_path, train, classes), test, len(classes), names)


def read_texts(path: Path) -> list[str]:
    """Return the texts of a file of JSON lines; labels are ignored.

    Raises:
        DataError: as `load_jsonl` does.
    """
    return [_text(path, number, values) for number, values in _objects(path)]


def is_jsonl(path: Path) -> bool:
    """Whether a path has the name of a file of JSON lines."""
    return path.name.lower().endswith(SUFFIXES)


def _in_folder(folder: Path, split: str) -> Path | None:
    found = [folder / f"{split}{suffix}" for suffix in SUFFIXES if (folder / f"{split}{suffix}").is_file()]
    if len(found) > 1:
        raise DataError(f"folder {str(folder)!r} holds {found[0].name} and {found[1].name}; allowed: one of them")
    return found[0] if found else None


def _read(path: Path) -> list[_Sample]:
    samples = [(_text(path, number, values), _label(path, number, values)) for number, values in _objects(path)]
    kinds = {type(label) for _, label in samples}
    if len(kinds) > 1:
        raise DataError(f"jsonl file {str(path)!r} holds integers and strings as labels; allowed: one kind")
    return samples


def _labelled(path: Path, samples: list[_Sample], classes: list[_Label]) -> LabelledTexts:
    numbers = {label: number for number, label in enumerate(classes)}
    for _, label in samples:
        if label not in numbers:
            hint = nearest(str(label), [str(known) for known in classes])
            raise DataError(f"jsonl file {str(path)!r} holds the label {label!r} without training texts{hint}")
    labels_N = np.array([numbers[label] for _, label in samples], dtype=np.int64)
    return LabelledTexts(tuple(text for text, _ in samples), labels_N)


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with the numbers of their lines, from 1."""
    count = 0
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as cause:  # bad JSON, bytes that are no UTF-8, or nested too deep
            raise _refused(path, number, f"is no JSON ({cause})", "an object in UTF-8") from cause
        if not isinstance(values, dict):
            raise _refused(path, number, f"holds a {type(values).__name__}", "an object with a text and a label")
        count += 1
        yield number, values
    if count == 0:
        raise DataError(f"jsonl file {str(path)!r} holds no texts; allowed: at least one line")


def _lines(path: Path) -> list[bytes]:
    if not path.is_file():
        raise DataError(f"jsonl file {str(path)!r} does not exist; expected a file of JSON lines, or a folder of them")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as cause:
        raise DataError(f"jsonl file {str(path)!r} cannot be read ({cause})") from cause
    return content.split(b"\n")


def _text(path: Path, line: int, values: dict[str, Any]) -> str:
    text = _value(path, line, values, "text")
    if not isinstance(text, str) or not text.strip():
        found = "an empty text" if isinstance(text, str) else f"a {type(text).__name__} as text"
        raise _refused(path, line, f"holds {found}", "a string that is not blank")
    if holds_half_a_pair(text):
        raise _refused(path, line, "holds half of a surrogate pair in its text", "characters of Unicode")
    return text


def _label(path: Path, line: int, values: dict[str, Any]) -> _Label:
    label = _value(path, line, values, "label")
    is_number = isinstance(label, int) and not isinstance(label, bool) and label >= 0
    if not is_number and (not isinstance(label, str) or not label):
        raise _refused(path, line, f"holds the label {label!r}", "an integer from 0, or a string")
    return cast(_Label, label)


def _value(path: Path, line: int, values: dict[str, Any], key: str) -> Any:
    if key not in values:
        raise _refused(path, line, f"lacks the key {key!r}{nearest(key, values)}", f"{key!r} on every line")
    return values[key]


def _refused(path: Path, line: int, found: str, allowed: str) -> DataError:
    return DataError(f"jsonl file {str(path)!r}, line {line}, {found}; allowed: {allowed}")
