"""Parts are found by name or import path, and their arguments are checked before they are called."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import pytest

from fedkd.errors import ConfigError
from fedkd.parts import PartConfig, build_part


@dataclass(frozen=True)
class Scale:
    factor: float
    mode: Literal["up", "down"] = "up"
    layers: tuple[int, ...] = ()


def part(**values: object) -> PartConfig:
    return PartConfig.model_validate(values)


REGISTERED = {"scale": Scale}


def test_a_registered_part_is_made_with_its_arguments() -> None:
    """The further keys of the table are the arguments; an integer passes for a float, a list for a tuple."""
    made = build_part(part(name="scale", factor=2, layers=[1, 2]), REGISTERED, "key", Scale)
    assert made == Scale(2.0, "up", (1, 2))


def test_a_name_alone_is_a_table_of_a_name() -> None:
    """`key = "name"` and `key = { name = "name" }` are the same configuration."""
    assert PartConfig.model_validate("scale") == part(name="scale")


def test_an_import_path_leads_to_anybodys_part() -> None:
    """What stands behind the colon is called with the arguments."""
    assert build_part(part(name="fractions:Fraction", numerator=3), {}, "key", Fraction) == 3


@pytest.mark.parametrize(
    ("values", "key", "allowed"),
    [
        ({"name": "scala", "factor": 1.0}, "section.key", "did you mean 'scale'"),
        ({"name": "scale"}, "section.key.factor", "Field required"),
        ({"name": "scale", "factor": 1.0, "modes": "up"}, "section.key.modes", "did you mean 'mode'"),
        ({"name": "scale", "factor": "x"}, "section.key.factor", "valid number"),
        ({"name": "scale", "factor": 1.0, "mode": "sideways"}, "section.key.mode", "'up' or 'down'"),
        ({"name": "no_such_module_here:x"}, "section.key", "does not import"),
        ({"name": "fractions:Nothing"}, "section.key", "no attribute"),
        ({"name": "fractions:Fraction", "numerator": "x"}, "section.key", "can be made"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, object], key: str, allowed: str) -> None:
    """The error names the key or the argument, its value and what is allowed."""
    with pytest.raises(ConfigError, match=allowed) as refused:
        build_part(part(**values), REGISTERED, "section.key")
    assert refused.value.key == key


def test_a_part_of_another_kind_is_refused() -> None:
    """A class that can be made, and is not what the place needs."""
    with pytest.raises(ConfigError, match="a Scale; this makes a Counter"):
        build_part(part(name="collections:Counter"), {}, "key", Scale)
    assert isinstance(build_part(part(name="collections:Counter"), {}, "key", Counter), Counter)
