"""A site looks for import paths in the whole experiment before it reads any of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import PolicyError
from fedkd.site.policy import FREE_TEXTS, check_own_code
from fedkd.types import Section

PATH = "no_such_module:thing"


def experiment(key: str, value: object) -> str:
    """The JSON of the default experiment with one key changed."""
    values = ExperimentConfig().model_dump(mode="json")
    *sections, last = key.split(".")
    section: Any = values
    for name in sections:
        section = section[name]
    section[last] = value
    return json.dumps(values)


def text_keys(section: Section, path: str = "") -> list[str]:
    """Every key of a configuration that can hold a text."""
    keys = []
    for name in type(section).model_fields:
        value, key = getattr(section, name), f"{path}.{name}".strip(".")
        nested = isinstance(value, Section) and isinstance(section.model_dump()[name], dict)
        keys += text_keys(value, key) if nested else [key]
    return keys


@pytest.mark.parametrize("key", [key for key in text_keys(ExperimentConfig()) if key not in FREE_TEXTS])
def test_an_import_path_under_any_key_is_refused(key: str) -> None:
    """As a text, in a list, in the table of a part, and as an argument of one."""
    for value in (PATH, [PATH], {"name": PATH}, [{"name": "crop", "inner": {"of": PATH}}]):
        with pytest.raises(PolicyError, match=f"{key}.* = '{PATH}' is an import path"):
            check_own_code(experiment(key, value))


def test_paths_and_devices_may_hold_a_colon() -> None:
    for key in FREE_TEXTS:
        check_own_code(experiment(key, "C:/data"))
        with pytest.raises(PolicyError, match="is an import path"):
            check_own_code(experiment(key, {"name": PATH}))


@pytest.mark.parametrize("value", [ExperimentConfig().model_dump_json(), "{", None, 3])
def test_what_names_no_code_is_left_to_the_parser(value: object) -> None:
    check_own_code(value)
