"""`fedmd`: clients keep their own models and digest the consensus (Li & Wang 2019, "FedMD", alg. 1). No student.

The paper pre-trains on labels of the public set; here that set is unlabelled, so clients start from local training.
"""

from __future__ import annotations

from pydantic import Field

from fedkd.aggregation import make_aggregator
from fedkd.distillation import DistillationConfig
from fedkd.methods.base import Method, MethodConfig


class FedMDConfig(MethodConfig):
    """Keys of `fedmd`; the digestion defaults are those of the authors' code."""

    name: str = "fedmd"
    aggregator: str = Field("mean_logits", description="how logits become the consensus")
    digestion: DistillationConfig = Field(
        DistillationConfig(epochs=1, batch_size=256, optimizer="adam", learning_rate=0.001, loss="l1"),
        description="how a client digests the consensus",
    )


def build(config: FedMDConfig) -> Method:
    """The consensus is the mean of logits; each client digests it, then revisits its private data."""
    return Method(name="fedmd", sends="logits", adopts="consensus", aggregate=make_aggregator(config.aggregator))
