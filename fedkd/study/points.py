"""The points of a study: what varies, the keys each point sets, and readable names for its cells. Pure functions."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from fedkd.study.config import Settings, StudyConfig

Scalar = str | int | float | bool | None
Point = dict[str, Scalar]
"""Axes and their values here; lists and tables appear as JSON."""

_LONGEST_NAME = 120


def expand(config: StudyConfig) -> Iterator[tuple[Point, Settings]]:
    """Yield every point with the keys that it sets, the last axis varying fastest."""
    for settings in config.cells:
        yield {key: readable(value) for key, value in settings.items()}, settings
    if config.cells:
        return
    for combination in itertools.product(*(_axis(*entry) for entry in config.grid.items())):
        point: Point = {axis: value for axis, value, _ in combination}
        yield point, dict(itertools.chain.from_iterable(changes.items() for _, _, changes in combination))


def _axis(axis: str, entries: list[Any] | dict[str, Settings]) -> list[tuple[str, Scalar, Settings]]:
    if isinstance(entries, dict):
        return [(axis, variant, settings) for variant, settings in entries.items()]
    return [(axis, readable(entry), {axis: entry}) for entry in entries]


def readable(value: Any) -> Scalar:
    """Return a value as it appears in tables: a scalar as it is, anything else as JSON."""
    return value if value is None or isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def cell_names(points: Sequence[Point], seeds: Sequence[int]) -> list[str]:
    """Return a folder name for each point and seed, seeds varying fastest, such as `method.name=fkd,seed=0`.

    A key is named by its last two parts. A point whose name is too long, no file name, or another point's, is told
    apart by a digest.
    """
    words = [_words(point) for point in points]
    uses = Counter(words)
    names = []
    for point, word in zip(points, words, strict=True):
        plain = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", word)
        if plain != word or len(word) > _LONGEST_NAME or uses[word] > 1:
            plain = f"{plain[:_LONGEST_NAME]},{hashlib.sha256(json.dumps(point).encode()).hexdigest()[:8]}"
        names += [f"{plain},seed={seed}" if plain else f"seed={seed}" for seed in seeds]
    return names


def _words(point: Point) -> str:
    return ",".join(f"{short_key(key)}={word(value)}" for key, value in point.items())


def short_key(key: str) -> str:
    """Return the last two parts of a dotted key."""
    return ".".join(key.split(".")[-2:])


def word(value: Scalar) -> str:
    """Return a value as TOML and people write it."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
