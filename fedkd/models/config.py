"""The type of a configuration key that names a model."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from fedkd.models.registry import check_model_name
from fedkd.types import checked_by

ModelName = Annotated[str, AfterValidator(checked_by(check_model_name))]
"""A registered model, or `package.module:factory`; anything else is refused with the nearest known name."""
