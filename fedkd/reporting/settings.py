"""Configurations side by side: what differs from the defaults, and by what runs are told apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fedkd.reporting.files import to_toml

_NO_SETTING = ("run.name", "run.output", "run.engine", "ray.")
"""Keys, and sections, that results do not depend on."""


class Setting(NamedTuple):
    """A key of a configuration, its value, and the default; both as TOML, the default empty where there is none."""

    key: str
    value: str
    default: str


def flat(config: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Return dotted keys and their values as TOML; keys that hold `None` are left out."""
    settings: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            settings |= flat(value, f"{prefix}{key}.")
        elif value is not None:
            settings[f"{prefix}{key}"] = " ".join(to_toml({"x": value}).removeprefix("x = ").split())
    return settings


def changed(config: Mapping[str, object], defaults: Mapping[str, object]) -> list[Setting]:
    """Return the keys whose value is not the default, in the order of the configuration."""
    usual = flat(defaults)
    return [
        Setting(key, value, usual.get(key, "")) for key, value in flat(config).items() if value != usual.get(key, "")
    ]


def differing(configs: Sequence[Mapping[str, object]]) -> list[str]:
    """Return the keys by which experiments differ, in the order in which they first stand.

    A key that only some experiments have (`method.*` depends on the method) counts where those that have it differ.
    """
    settings = [flat(config) for config in configs]
    keys = dict.fromkeys(key for each in settings for key in each if not key.startswith(_NO_SETTING))
    return [key for key in keys if len({each[key] for each in settings if key in each}) > 1]


def run_labels(configs: Sequence[Mapping[str, object]], names: Sequence[str]) -> list[str]:
    """Return a short text for each run that tells it from the others: by its settings, else also by its name."""
    keys = differing(configs)
    labels = [_label(flat(config), keys) for config in configs]
    return [
        label if label and labels.count(label) == 1 else f"{label} ({name})".strip()
        for label, name in zip(labels, names, strict=True)
    ]


def _label(settings: Mapping[str, str], keys: Sequence[str]) -> str:
    last = [key.rpartition(".")[2] for key in keys]
    parts = []
    for key, short in zip(keys, last, strict=True):
        if key == "method.name" and key in settings:
            parts.append(settings[key].strip('"'))
        elif key in settings:
            parts.append(f"{short if last.count(short) == 1 else key} = {settings[key]}")
    return ", ".join(parts)
