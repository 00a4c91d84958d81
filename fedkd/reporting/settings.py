"""Configurations side by side: what differs from the defaults, and by what runs are told apart."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fedkd.reporting.reported import ReportedRun

_NO_SETTING = ("run.name", "run.output", "run.engine", "run.save", "run.observers", "ray.")
"""Keys, and sections, that results do not depend on."""


class Setting(NamedTuple):
    """A key of a configuration, its value, and the default, which is empty where there is none; values are TOML."""

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
            settings[f"{prefix}{key}"] = json.dumps(value, ensure_ascii=False, default=str)
    return settings


def changed(reported: ReportedRun) -> list[Setting]:
    """Return the keys whose value is not the default, in the order of the configuration."""
    usual = flat(reported.defaults)
    settings = flat(reported.config).items()
    return [Setting(key, value, usual.get(key, "")) for key, value in settings if value != usual.get(key)]


def differing(runs: Sequence[ReportedRun]) -> list[str]:
    """Return the keys by which experiments differ, the method first.

    A key that only some have (`method.*` depends on the method) counts where those that have it differ, and any key
    only where one of them left its default: two methods with defaults of their own differ by their names alone.
    """
    settings = [flat(reported.config) for reported in runs]
    touched = {setting.key for reported in runs for setting in changed(reported)} | {"method.name"}
    keys = dict.fromkeys(key for each in settings for key in each if not key.startswith(_NO_SETTING))
    differ = [key for key in keys if key in touched and len({each[key] for each in settings if key in each}) > 1]
    return sorted(differ, key=lambda key: key != "method.name")


def run_labels(runs: Sequence[ReportedRun]) -> list[str]:
    """Return a short text for each run that tells it from the others.

    It names the method and the seed where they differ, and what else differs and is not at its default; where that does
    not tell two runs apart, all that differs, and at last the name of the folder.
    """
    keys = differing(runs)
    labels = [_label(reported, keys, brief=True) for reported in runs]
    if "" in labels or len(set(labels)) < len(labels):
        labels = [_label(reported, keys, brief=False) for reported in runs]
    return [
        label if label and labels.count(label) == 1 else f"{label} ({reported.name})".strip()
        for label, reported in zip(labels, runs, strict=True)
    ]


def _label(reported: ReportedRun, keys: Sequence[str], brief: bool) -> str:
    settings = flat(reported.config)
    telling = {setting.key for setting in changed(reported)} | {"method.name", "run.seed"}
    last = [key.rpartition(".")[2] for key in keys]
    parts = []
    for key, short in zip(keys, last, strict=True):
        if key in settings and (key in telling or not brief):
            name = "" if key == "method.name" else f"{short if last.count(short) == 1 else key} = "
            parts.append(name + settings[key].strip('"'))
    return ", ".join(parts)
