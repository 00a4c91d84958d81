"""Aggregation: the logits of K clients on N samples, [K, N, C], become one teacher's, [N, C]."""

from fedkd.aggregation.base import Aggregator, MeanAggregator
from fedkd.aggregation.mean import MeanLogits
from fedkd.aggregation.registry import AGGREGATORS, AggregatorName, make_aggregator
from fedkd.aggregation.sharpening import Sharpener, entropy_reduction, unchanged
from fedkd.aggregation.weights import Weights, weighted_average

__all__ = [
    "AGGREGATORS",
    "Aggregator",
    "AggregatorName",
    "MeanAggregator",
    "MeanLogits",
    "Sharpener",
    "Weights",
    "entropy_reduction",
    "make_aggregator",
    "unchanged",
    "weighted_average",
]
