"""`fedmd`: clients keep their own models and learn from the consensus (Li & Wang 2019, "FedMD", alg. 1). No student.

The paper pre-trains on labels of the public set; here that set is unlabelled, so clients start from local training.
"""

from __future__ import annotations

from pydantic import Field

from fedkd.aggregation import make_aggregator
from fedkd.distillation import ObjectiveConfig
from fedkd.methods.base import LocalDistillationConfig, Method, MethodConfig
from fedkd.methods.uploads import PublicLogits
from fedkd.parts import PartConfig


class FedMDObjective(ObjectiveConfig):
    """What a client minimises; the default is that of the authors' code."""

    loss: str = Field("l1", description="soft loss: kl, reverse_kl, js, l1, mse, or package.module:function")


class FedMDLocalDistillation(LocalDistillationConfig):
    """How a client learns from the consensus; the defaults are those of the authors' code."""

    batch_size: int = Field(256, ge=1, description="public samples per step")
    objective: FedMDObjective = Field(FedMDObjective(), description="what the client's model minimises")


class FedMDConfig(MethodConfig):
    """Keys of `fedmd`."""

    name: str = "fedmd"
    aggregator: PartConfig = Field(PartConfig(name="mean_logits"), description="how logits become the consensus")
    local_distillation: FedMDLocalDistillation = Field(
        FedMDLocalDistillation(), description="how a client learns from the consensus"
    )


def build(config: FedMDConfig) -> Method:
    """The consensus is the mean of logits; each client learns from it, then revisits its private data."""
    return Method(
        name="fedmd",
        uploads=(PublicLogits(),),
        aggregate=make_aggregator(config.aggregator),
        adopts="soft_labels",
    )
