from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from fedkd.parts import PartConfig
from fedkd.payload import PayloadConfig
from fedkd.payload.codecs import FLOAT16_MAX


def test_defaults():
    assert PayloadConfig().model_dump() == {
        "encoding": "float32",
        "encoding_down": None,
        "clip": True,
        "clipping_range": 30.0,
        "steps": (),
    }


def test_every_key_is_described():
    assert all(field.description for field in PayloadConfig.model_fields.values())


@pytest.mark.parametrize(
    "values", [{"encoding": 8}, {"clipping_range": 0}, {"clipping_range": 60_001}, {"steps": "noise"}], ids=str
)
def test_values_out_of_range_are_refused(values):
    (key,) = values
    with pytest.raises(ValidationError, match=key):
        PayloadConfig(**values)


def test_the_largest_clipping_range_fits_float16():
    assert PayloadConfig(clipping_range=60_000).clipping_range < FLOAT16_MAX


def test_values_are_bounded_by_the_clipping_range_unless_clipping_is_off():
    assert PayloadConfig(clipping_range=5.0).bound == 5.0
    assert PayloadConfig(clipping_range=5.0, clip=False).bound == np.inf


def test_a_name_alone_stands_for_a_part_without_arguments():
    assert PayloadConfig.model_validate({"encoding": "int8"}).encoding == PartConfig(name="int8")
