"""`feddf`: weights are averaged per architecture, then distilled from the ensemble of all clients' models
(Lin et al. 2020, "Ensemble Distillation for Robust Model Fusion in Federated Learning", alg. 1 and 3).
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from fedkd.aggregation import Weights, make_aggregator, weighted_average
from fedkd.methods.base import Contribution, Method, MethodConfig
from fedkd.methods.uploads import ModelWeights
from fedkd.parts import PartConfig


class FedDFConfig(MethodConfig):
    """Keys of `feddf`."""

    name: str = "feddf"
    aggregator: PartConfig = Field(PartConfig(name="mean_logits"), description="how logits become a teacher")


def average_weights(previous: Weights, contributions: Sequence[Contribution]) -> Weights:
    """Average the clients of this architecture, weighted by examples; with none, keep the model of before."""
    sent = [(c.weights, c.num_examples) for c in contributions if c.weights is not None]
    return weighted_average([w for w, _ in sent], [n for _, n in sent]) if sent else previous


def build(config: FedDFConfig) -> Method:
    """Every architecture of the population has a server model; all of them learn from one teacher."""
    return Method(
        name="feddf",
        uploads=(ModelWeights(),),
        aggregate=make_aggregator(config.aggregator),
        start=average_weights,
        distils="all",
    )
