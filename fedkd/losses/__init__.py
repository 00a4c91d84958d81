"""Losses: pure functions of logits or features, each mean-reduced over the batch."""

from fedkd.losses.classification import class_log_prior, logit_adjusted_cross_entropy, smoothed_labels
from fedkd.losses.kd import (
    distillation_loss,
    js_loss,
    kd_loss,
    logit_l1_loss,
    logit_mse_loss,
    reverse_kd_loss,
)
from fedkd.losses.soft_targets import log_soft_targets, logits_of, soft_targets

__all__ = [
    "class_log_prior",
    "distillation_loss",
    "js_loss",
    "kd_loss",
    "log_soft_targets",
    "logit_adjusted_cross_entropy",
    "logit_l1_loss",
    "logit_mse_loss",
    "logits_of",
    "reverse_kd_loss",
    "smoothed_labels",
    "soft_targets",
]
