"""The type of a configuration key that names a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from fedkd.errors import ModelError
from fedkd.models.registry import check_model_name


def _known(name: str) -> str:
    try:
        check_model_name(name)
    except ModelError as cause:
        raise ValueError(str(cause)) from cause
    return name


ModelName = Annotated[str, AfterValidator(_known)]
"""A registered model, or `package.module:factory`; anything else is refused with the nearest known name."""
