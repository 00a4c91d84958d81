"""The `[payload]` section."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedkd.types import Section


class PayloadConfig(Section):
    """What happens to logits between a client and the server."""

    encoding: Literal["float32", "float16", "int8"] = Field(
        "float32", description="numbers on the wire; int8 shares one scale per message"
    )
    clip: bool = Field(True, description="bound each logit, so that no client can outweigh the others without limit")
    clipping_range: float = Field(30.0, gt=0, le=60_000, description="logits are clipped to ± this value")
