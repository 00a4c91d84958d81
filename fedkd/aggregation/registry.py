"""Aggregators by the name used in `method.aggregator`, or by import path."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fedkd.aggregation.base import Aggregator
from fedkd.aggregation.mean import ConfidenceWeighted, MeanLogits, MeanProbabilities
from fedkd.aggregation.robust import MedianLogits
from fedkd.parts import PartConfig, build_part

AGGREGATORS: Mapping[str, type[Aggregator]] = MappingProxyType(
    {
        "mean_logits": MeanLogits,
        "mean_probabilities": MeanProbabilities,
        "confidence_weighted": ConfidenceWeighted,
        "median_logits": MedianLogits,
    }
)
"""What `method.aggregator` takes, besides import paths."""


def make_aggregator(part: PartConfig | str) -> Aggregator:
    """Return the aggregator of that name or import path, made with its arguments.

    Raises:
        ConfigError: no aggregator has the name, or an argument is not allowed.
    """
    config = PartConfig(name=part) if isinstance(part, str) else part
    return build_part(config, AGGREGATORS, "method.aggregator", Aggregator)
