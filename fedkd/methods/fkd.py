"""`fkd`: logits-only federated knowledge distillation. Clients send logits, the student goes back to them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedkd.aggregation import AggregatorName, Sharpener, entropy_reduction, make_aggregator, unchanged
from fedkd.methods.base import Method, MethodConfig, previous_weights


class FkdConfig(MethodConfig):
    """Keys of `fkd`."""

    name: str = "fkd"
    aggregator: AggregatorName = Field("mean_logits", description="how logits become a teacher")
    sharpening: Literal["none", "entropy_reduction"] = Field("none", description="how the teacher is sharpened")
    era_temperature: float = Field(0.1, gt=0, description="T of entropy reduction")


def sharpener(config: FkdConfig) -> Sharpener:
    """The sharpener that the configuration names."""
    return entropy_reduction(config.era_temperature) if config.sharpening == "entropy_reduction" else unchanged


def build(config: FkdConfig) -> Method:
    """Clients adopt the student where architectures match, else the teacher's soft labels. With
    `aggregator = "mean_probabilities"` and `sharpening = "entropy_reduction"` the teacher is that of DS-FL.
    """
    return Method(
        name="fkd",
        sends="logits",
        adopts="model",
        aggregate=make_aggregator(config.aggregator),
        sharpen=sharpener(config),
        start=previous_weights,
        distils=True,
    )
