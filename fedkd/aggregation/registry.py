"""Aggregators by the name used in `method.aggregator`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from pydantic import AfterValidator

from fedkd.aggregation.base import Aggregator
from fedkd.aggregation.mean import ConfidenceWeighted, MeanLogits, MeanProbabilities
from fedkd.aggregation.robust import MedianLogits
from fedkd.errors import ConfigError, nearest

AGGREGATORS: Mapping[str, type[Aggregator]] = MappingProxyType(
    {
        "mean_logits": MeanLogits,
        "mean_probabilities": MeanProbabilities,
        "confidence_weighted": ConfidenceWeighted,
        "median_logits": MedianLogits,
    }
)


def _known(name: str) -> str:
    make_aggregator(name)
    return name


def make_aggregator(name: str) -> Aggregator:
    """Return the aggregator of that name.

    Raises:
        ConfigError: no aggregator has it.
    """
    if name not in AGGREGATORS:
        raise ConfigError("method.aggregator", name, f"one of {', '.join(AGGREGATORS)}{nearest(name, AGGREGATORS)}")
    return AGGREGATORS[name]()


AggregatorName = Annotated[str, AfterValidator(_known)]
"""The type of a configuration key that names an aggregator."""
