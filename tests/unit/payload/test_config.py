from __future__ import annotations

import pytest
from pydantic import ValidationError

from fedkd.payload import PayloadConfig
from fedkd.payload.encoding import FLOAT16_MAX


def test_defaults():
    assert PayloadConfig().model_dump() == {"encoding": "float32", "clip": True, "clipping_range": 30.0}


def test_every_key_is_described():
    assert all(field.description for field in PayloadConfig.model_fields.values())


@pytest.mark.parametrize("values", [{"encoding": "int4"}, {"clipping_range": 0}, {"clipping_range": 60_001}], ids=str)
def test_values_out_of_range_are_refused(values):
    (key,) = values
    with pytest.raises(ValidationError, match=key):
        PayloadConfig(**values)


def test_the_largest_clipping_range_fits_float16():
    assert PayloadConfig(clipping_range=60_000).clipping_range < FLOAT16_MAX
