"""The `[payload]` section, and the seam that it describes."""

from __future__ import annotations

import math

from pydantic import Field

from fedkd.parts import PartConfig, build_part
from fedkd.payload.codecs import CODECS, Codec
from fedkd.payload.seam import Seam
from fedkd.payload.steps import STEPS, Step
from fedkd.types import Section


class PayloadConfig(Section):
    """What happens to rows between a client and the server."""

    encoding: PartConfig = Field(
        PartConfig(name="float32"),
        description="values on the wire, both ways: float32, float16, int8 with one scale a message, or "
        "package.module:codec",
    )
    encoding_down: PartConfig | None = Field(
        None, description="values from the server to the clients; as encoding where it is not given"
    )
    clip: bool = Field(True, description="bound each value, so that no client can outweigh the others without limit")
    clipping_range: float = Field(30.0, gt=0, le=60_000, description="values are clipped to ± this")
    steps: tuple[PartConfig, ...] = Field(
        (),
        strict=False,
        description="done to clients' rows before they leave: clip_norm, gaussian_noise, or import paths",
    )

    @property
    def bound(self) -> float:
        """Of a value that is a logit or a feature."""
        return self.clipping_range if self.clip else math.inf

    def seam(self, first: tuple[Step, ...] = ()) -> Seam:
        """Build both ends of the seam; `first` are an attacker's steps.

        Raises:
            ConfigError: a codec or step that is unknown, or an argument that it does not take.
        """
        codec = build_part(self.encoding, CODECS, "payload.encoding", Codec)
        down = self.encoding_down
        steps = (build_part(step, STEPS, "payload.steps", Step) for step in self.steps)
        return Seam(
            (*first, *steps),
            codec,
            codec if down is None else build_part(down, CODECS, "payload.encoding_down", Codec),
        )
