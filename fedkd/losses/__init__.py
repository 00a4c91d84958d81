"""Losses: pure functions of logits or features, each mean-reduced over the batch."""

from fedkd.losses.attention import attention_loss, attention_map
from fedkd.losses.classification import class_log_prior, logit_adjusted_cross_entropy, smoothed_labels
from fedkd.losses.hints import HintLoss, hint_loss
from fedkd.losses.kd import (
    distillation_loss,
    js_loss,
    kd_loss,
    logit_l1_loss,
    logit_mse_loss,
    reverse_kd_loss,
)
from fedkd.losses.local import cross_entropy
from fedkd.losses.relational import (
    angle_loss,
    distance_loss,
    similarity_loss,
    task_geometry,
    task_geometry_loss,
)
from fedkd.losses.soft_targets import log_soft_targets, logits_of, soft_targets
from fedkd.losses.transformer import HiddenStateLoss, attention_matrix_loss

__all__ = [
    "HiddenStateLoss",
    "HintLoss",
    "angle_loss",
    "attention_loss",
    "attention_map",
    "attention_matrix_loss",
    "class_log_prior",
    "cross_entropy",
    "distance_loss",
    "distillation_loss",
    "hint_loss",
    "js_loss",
    "kd_loss",
    "log_soft_targets",
    "logit_adjusted_cross_entropy",
    "logit_l1_loss",
    "logit_mse_loss",
    "logits_of",
    "reverse_kd_loss",
    "similarity_loss",
    "smoothed_labels",
    "soft_targets",
    "task_geometry",
    "task_geometry_loss",
]
