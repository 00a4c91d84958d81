"""`fedmd`: clients keep their own models and digest the consensus (Li & Wang 2019, "FedMD", alg. 1). No student.

The paper pre-trains on labels of the public set; here that set is unlabelled, so clients start from local training.
"""

from __future__ import annotations

from pydantic import Field

from fedkd.aggregation import make_aggregator
from fedkd.losses.kd import SoftLossName
from fedkd.methods.base import DigestionConfig, Method, MethodConfig
from fedkd.methods.uploads import PublicLogits
from fedkd.parts import PartConfig


class FedMDDigestion(DigestionConfig):
    """How a client digests the consensus; the defaults are those of the authors' code."""

    batch_size: int = Field(256, ge=1, description="public samples per step")
    loss: SoftLossName = Field("l1", description="soft loss: a divergence of distributions, or a distance of logits")


class FedMDConfig(MethodConfig):
    """Keys of `fedmd`."""

    name: str = "fedmd"
    aggregator: PartConfig = Field(PartConfig(name="mean_logits"), description="how logits become the consensus")
    digestion: FedMDDigestion = Field(FedMDDigestion(), description="how a client digests the consensus")


def build(config: FedMDConfig) -> Method:
    """The consensus is the mean of logits; each client digests it, then revisits its private data."""
    return Method(
        name="fedmd",
        uploads=(PublicLogits(),),
        aggregate=make_aggregator(config.aggregator),
        adopts="soft_labels",
    )
