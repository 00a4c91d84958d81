"""Losses: pure functions over logits, each mean-reduced over the batch."""

from fedkd.losses.classification import class_log_prior, logit_adjusted_cross_entropy
from fedkd.losses.kd import distillation_loss, kd_loss, logit_l1_loss, logit_mse_loss

__all__ = [
    "class_log_prior",
    "distillation_loss",
    "kd_loss",
    "logit_adjusted_cross_entropy",
    "logit_l1_loss",
    "logit_mse_loss",
]
