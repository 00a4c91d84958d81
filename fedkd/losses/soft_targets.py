"""Soft targets: what a model says of all classes, at a temperature. Shapes: N samples, C classes."""

from __future__ import annotations

import torch
from torch import Tensor

from fedkd.errors import ConfigError
from fedkd.losses.precision import at_least_float32

_SUM_TOLERANCE = 1e-2
"""How far probabilities may be from summing to 1: bfloat16 keeps less than three digits."""


def soft_targets(logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """softmax(z / T), [N, C] (Hinton et al. 2015, eq. 1). float16 and bfloat16 become float32.

    Raises:
        ConfigError: T is not above 0.
    """
    return log_soft_targets(logits_NC, temperature).exp()


def log_soft_targets(logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """The logarithms of the soft targets, [N, C], finite for finite logits.

    Raises:
        ConfigError: T is not above 0.
    """
    if not temperature > 0:
        raise ConfigError("temperature", temperature, "above 0")
    wide = at_least_float32(logits_NC)
    return (wide / temperature if temperature != 1 else wide).log_softmax(dim=1)


def logits_of(probs_NC: Tensor) -> Tensor:
    """Logits [N, C] of a teacher that gives probabilities: log p, whose softmax is p again.

    A probability of zero becomes the smallest normal number of its type, since log 0 is not finite.

    Raises:
        ConfigError: a row is not a distribution.
    """
    wide = at_least_float32(probs_NC)
    off = (wide.sum(dim=1) - 1).abs()
    if not bool((wide >= 0).all()) or not bool((off <= _SUM_TOLERANCE).all()):
        raise ConfigError("probs_NC", f"a tensor of shape {tuple(probs_NC.shape)}", "rows that are at least 0, sum 1")
    return wide.clamp_min(torch.finfo(wide.dtype).tiny).log()
