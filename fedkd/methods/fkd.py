"""`fkd`: logits-only federated knowledge distillation. Clients send logits, the student goes back to them."""

from __future__ import annotations

from pydantic import Field

from fedkd.aggregation import make_aggregator
from fedkd.methods.base import Method, MethodConfig, previous_weights
from fedkd.methods.refinements import REFINEMENTS, Refinement
from fedkd.methods.uploads import UPLOADS, Upload
from fedkd.parts import PartConfig, build_part


class FkdConfig(MethodConfig):
    """Keys of `fkd`."""

    name: str = "fkd"
    upload: PartConfig = Field(PartConfig(name="public_logits"), description="what a client makes rows of")
    aggregator: PartConfig = Field(PartConfig(name="mean_logits"), description="how rows become a teacher")
    refine: tuple[PartConfig, ...] = Field(
        (), strict=False, description="what happens to the teacher then: entropy_reduction, or import paths"
    )


def build(config: FkdConfig) -> Method:
    """Clients adopt the student where architectures match, else the teacher's soft labels. With
    `aggregator = "mean_probabilities"` and `refine = ["entropy_reduction"]` the teacher is that of DS-FL.
    """
    return Method(
        name="fkd",
        uploads=(build_part(config.upload, UPLOADS, "method.upload", Upload),),
        aggregate=make_aggregator(config.aggregator),
        refine=tuple(build_part(each, REFINEMENTS, "method.refine", Refinement) for each in config.refine),
        start=previous_weights,
        distils="student",
    )
