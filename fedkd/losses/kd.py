"""Distillation losses. Shapes: N samples, C classes; every function returns the mean over the batch.

Teachers are logits throughout. A teacher that is a distribution p is carried as log p, whose softmax is p again;
at T ≠ 1 it then stands for p^(1/T), renormalised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 (the name every PyTorch reader knows)
from torch import Tensor


def kd_loss(student_logits_NC: Tensor, teacher_logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """T²·KL(softmax(teacher/T) ‖ softmax(student/T)), in nats.

    The factor T² keeps the size of the gradient comparable over temperatures: per sample it is
    T·(p_student − p_teacher) (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", §2).
    """
    student_log_probs = F.log_softmax(student_logits_NC / temperature, dim=1)
    teacher_log_probs = F.log_softmax(teacher_logits_NC / temperature, dim=1)
    divergence = F.kl_div(student_log_probs, teacher_log_probs, reduction="batchmean", log_target=True)
    return temperature**2 * divergence


def logit_l1_loss(student_logits_NC: Tensor, teacher_logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean absolute difference of logits, the digestion loss of FedMD (Li & Wang 2019). Has no temperature."""
    del temperature
    return (student_logits_NC - teacher_logits_NC).abs().mean()


def logit_mse_loss(student_logits_NC: Tensor, teacher_logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean squared difference of logits (Ba & Caruana 2014), the limit of `kd_loss` for T → ∞ up to a shift and a
    factor. Has no temperature.
    """
    del temperature
    return (student_logits_NC - teacher_logits_NC).square().mean()


SoftLoss = Callable[[Tensor, Tensor, float], Tensor]

SOFT_LOSSES: Mapping[str, SoftLoss] = MappingProxyType({"kl": kd_loss, "l1": logit_l1_loss, "mse": logit_mse_loss})


def distillation_loss(
    student_logits_NC: Tensor,
    teacher_logits_NC: Tensor,
    labels_N: Tensor | None = None,
    *,
    temperature: float = 1.0,
    alpha: float = 1.0,
    soft_loss: SoftLoss = kd_loss,
) -> Tensor:
    """(1 − alpha)·CE(student, labels) + alpha·soft_loss(student, teacher, T).

    Args:
        student_logits_NC: the student's logits, with gradient.
        teacher_logits_NC: the teacher's logits, without.
        labels_N: true classes; needed where alpha < 1.
        temperature: T of the soft loss; the hard loss always uses 1.
        alpha: weight of the soft loss, in [0, 1].
        soft_loss: one of `SOFT_LOSSES`.

    Raises:
        ValueError: alpha < 1 without labels.
    """
    soft = soft_loss(student_logits_NC, teacher_logits_NC, temperature)
    if alpha == 1.0:
        return soft
    if labels_N is None:
        raise ValueError(f"alpha = {alpha} needs labels: the hard loss has weight 1 - alpha > 0 and labels_N is None")
    hard: Tensor = F.cross_entropy(student_logits_NC, labels_N)
    return torch.lerp(hard, soft, alpha)
