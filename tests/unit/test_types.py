from __future__ import annotations

import collections
import math
import subprocess
import sys

import pytest
from pydantic import Field, ValidationError

from fedkd.errors import DataError, ModelError
from fedkd.types import Section, import_from_path


class Example(Section):
    rate: float = Field(0.5, gt=0, description="a number")
    many: tuple[int, ...] = Field((1,), description="some")


def test_import_from_path_finds_attributes_of_modules_and_of_packages():
    assert import_from_path("math:pi", ModelError) is math.pi
    assert import_from_path("collections:OrderedDict", ModelError) is collections.OrderedDict
    assert import_from_path("fedkd.types:Section", ModelError) is Section


@pytest.mark.parametrize("path", ["", ":", "math", "math:", ":pi", ".math:pi", "..math:pi"])
def test_paths_of_another_form_are_refused(path):
    with pytest.raises(ModelError, match=r"not of the form 'package\.module:attribute'") as refusal:
        import_from_path(path, ModelError)
    assert repr(path) in str(refusal.value)


@pytest.mark.parametrize("path", ["no_such_module:x", "math.no_such:x", "fedkd.no_such:x", "a b:x"])
def test_modules_that_do_not_import_are_named_with_their_cause(path):
    with pytest.raises(DataError, match="does not import") as refusal:
        import_from_path(path, DataError)
    assert path.split(":")[0] in str(refusal.value)
    assert isinstance(refusal.value.__cause__, ImportError)


@pytest.mark.parametrize("path", ["math:tau2", "math:pi:real", "math:pi.real"])
def test_attributes_that_are_not_there_are_named_with_their_cause(path):
    with pytest.raises(DataError, match="has no attribute") as refusal:
        import_from_path(path, DataError)
    assert repr(path.partition(":")[2]) in str(refusal.value)
    assert isinstance(refusal.value.__cause__, AttributeError)


def test_a_section_takes_its_keys_and_is_frozen():
    section = Example(rate=2, many=(3, 4))
    assert (section.rate, section.many) == (2.0, (3, 4))
    with pytest.raises(ValidationError, match="frozen"):
        section.rate = 1.0


@pytest.mark.parametrize(
    "values", [{"rat": 1}, {"rate": 0}, {"rate": float("nan")}, {"rate": float("inf")}, {"many": ("x",)}], ids=str
)
def test_a_section_refuses_unknown_keys_nan_and_infinity(values):
    (key,) = values
    with pytest.raises(ValidationError, match=key):
        Example(**values)


@pytest.mark.parametrize("values", [{"rate": "2"}, {"rate": True}, {"many": (1.0,)}, {"many": [1]}], ids=str)
def test_a_section_refuses_values_of_another_type(values):
    (key,) = values
    with pytest.raises(ValidationError, match=key):
        Example(**values)


def test_defaults_are_validated_too():
    class Wrong(Section):
        rate: float = Field(-1.0, gt=0, description="a number")

    with pytest.raises(ValidationError, match="rate"):
        Wrong()


def test_the_small_bases_reach_no_torch():
    code = "import sys, fedkd.types, fedkd.records, fedkd.seeding, fedkd.errors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
