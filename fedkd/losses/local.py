"""Losses of a client's training on its own labelled samples, by name or by import path.

Shape legend: N samples · C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated

import torch.nn.functional as F  # noqa: N812 (the name every PyTorch reader knows)
from torch import Tensor

from fedkd.losses.classification import class_log_prior, logit_adjusted_cross_entropy
from fedkd.parts import PartConfig, bind_part, checked_by_binding

LocalLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits [N, C], labels [N], the client's number of samples of each class [C]) -> mean over the batch, a scalar."""

SECTION_KEYS = ("label_smoothing", "logit_adjustment", "logit_adjustment_eps")
"""The keys beside a registered loss that are its arguments."""


def cross_entropy(
    logits_NC: Tensor,
    labels_N: Tensor,
    counts_C: Tensor,
    *,
    label_smoothing: float = 0.0,
    logit_adjustment: bool = False,
    logit_adjustment_eps: float = 0.01,
) -> Tensor:
    """Cross-entropy, on smoothed labels and on logits adjusted by the client's class prior where asked for."""
    if not logit_adjustment:
        return F.cross_entropy(logits_NC, labels_N, label_smoothing=label_smoothing)
    log_prior_C = class_log_prior(counts_C, logit_adjustment_eps)
    return logit_adjusted_cross_entropy(logits_NC, labels_N, log_prior_C, label_smoothing)


LOCAL_LOSSES: Mapping[str, Callable[..., Tensor]] = MappingProxyType({"cross_entropy": cross_entropy})


def bind_loss(part: PartConfig, key: str) -> Callable[..., Tensor]:
    """Return the loss that a configuration names; a registered one still takes `SECTION_KEYS` by keyword.

    Raises:
        ConfigError: no such loss, or an argument that it does not take.
    """
    keywords = SECTION_KEYS if part.name in LOCAL_LOSSES else ()
    return bind_part(part, LOCAL_LOSSES, key, positional=3, keywords=keywords)


LocalLossPart = Annotated[PartConfig, checked_by_binding(bind_loss)]
"""The type of a key that names a loss."""
