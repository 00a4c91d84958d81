"""Aggregation: the rows of K clients, [K, N, D], become one teacher's, [N, D]."""

from fedkd.aggregation.base import Aggregator, MeanAggregator, Rule, Stack, log_softmax
from fedkd.aggregation.mean import MeanLogits
from fedkd.aggregation.registry import AGGREGATORS, make_aggregator
from fedkd.aggregation.weights import Weights, weighted_average

__all__ = [
    "AGGREGATORS",
    "Aggregator",
    "MeanAggregator",
    "MeanLogits",
    "Rule",
    "Stack",
    "Weights",
    "log_softmax",
    "make_aggregator",
    "weighted_average",
]
