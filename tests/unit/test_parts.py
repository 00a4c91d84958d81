"""Parts are found by name or import path, and their arguments are checked before they are called."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import pytest

from fedkd.errors import ConfigError
from fedkd.parts import PartConfig, bind_part, build_part, find_part


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


class Chosen:
    def __init__(self, layers: tuple[int, ...] | None = None) -> None:
        self.layers = layers


@pytest.mark.parametrize(("given", "made"), [({}, None), ({"layers": [1, 2]}, (1, 2))], ids=["default", "list"])
def test_a_list_also_passes_for_a_tuple_that_may_be_missing(
    given: dict[str, object], made: tuple[int, ...] | None
) -> None:
    assert build_part(part(name="chosen", **given), {"chosen": Chosen}, "key", Chosen).layers == made


def test_an_annotation_that_cannot_be_read_is_named() -> None:
    def unreadable(factor: int = 1) -> int:
        return factor

    unreadable.__annotations__["factor"] = "1 +"
    with pytest.raises(ConfigError, match="a signature"):
        build_part(part(name="unreadable"), {"unreadable": unreadable}, "key")


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
        ({"name": "fractions:Fraction", "numerator": "x"}, "section.key", "cannot be made"),
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


def scaled(value: float, /, other: float, *, factor: float = 1.0, shift: float = 0.0) -> float:
    return (value + other) * factor + shift


def test_a_bound_part_takes_what_its_caller_passes_and_what_the_table_says() -> None:
    """(2 + 3)·4 + 1, the shift from the caller."""
    bound = bind_part(part(name=f"{__name__}:scaled", factor=4.0), {}, "key", positional=2, keywords=("shift",))
    assert bound(2.0, 3.0, shift=1.0) == 21.0


@pytest.mark.parametrize(
    ("values", "positional", "key", "allowed"),
    [
        ({"name": "scalad"}, 2, "key", "did you mean 'scaled'"),
        ({"name": "scaled", "shift": 1.0}, 2, "key.shift", "did you mean 'factor'|not an argument"),
        ({"name": "scaled", "other": 1.0}, 2, "key.other", "not an argument of this part"),
        ({"name": "scaled", "factor": "x"}, 2, "key.factor", "valid number"),
        ({"name": "scaled"}, 1, "key.other", "Field required"),
        ({"name": "scaled"}, 3, "key", "called with 3 values by position; this takes 2"),
        ({"name": "os:sep"}, 1, "key", "a signature"),
    ],
)
def test_what_cannot_be_bound_is_named(values: dict[str, object], positional: int, key: str, allowed: str) -> None:
    """What the caller passes is no argument of the table."""
    with pytest.raises(ConfigError, match=allowed) as refused:
        bind_part(part(**values), {"scaled": scaled}, "key", positional, keywords=("shift",))
    assert refused.value.key == key


def test_a_part_is_written_as_it_was_read() -> None:
    """A name alone stays a name, in JSON too; what is read again is equal."""
    for value in ("sgd", {"name": "adam", "betas": [0.9, 0.99]}):
        read = PartConfig.model_validate(value)
        assert read.model_dump(mode="json") == value
        assert PartConfig.model_validate_json(read.model_dump_json()) == read


def test_a_module_that_fails_on_import_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Importing runs anybody's code, which may raise anything."""
    (tmp_path / "failing_on_import.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"a module that imports [(]ZeroDivisionError"):
        find_part("failing_on_import:x", {}, "key")
