"""Distillation losses. Shapes: N samples, C classes; every function returns the mean over the batch.

Teachers are logits throughout. A teacher that is a distribution p is carried as log p (`logits_of`), whose softmax is
p again; at T ≠ 1 it then stands for p^(1/T), renormalised.

Precision: float16 and bfloat16 logits are computed on, and the loss returned, in float32. The value of a divergence has
an absolute error of about T²·1e-6 in float32: it is a small difference at a high T. Its gradient is a difference of
probabilities and does not suffer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 (the name every PyTorch reader knows)
from torch import Tensor

from fedkd.errors import ConfigError
from fedkd.losses.precision import at_least_float32
from fedkd.losses.soft_targets import log_soft_targets


def kd_loss(student_logits_NC: Tensor, teacher_logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """T²·KL(softmax(teacher/T) ‖ softmax(student/T)), in nats.

    The factor T² keeps the size of the gradient comparable over temperatures: per sample it is
    T·(p_student − p_teacher) (Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", §2).
    """
    student_log_probs = log_soft_targets(student_logits_NC, temperature)
    teacher_log_probs = log_soft_targets(teacher_logits_NC, temperature)
    return temperature**2 * _divergence(teacher_log_probs, student_log_probs)


def reverse_kd_loss(student_logits_NC: Tensor, teacher_logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """T²·KL(softmax(student/T) ‖ softmax(teacher/T)): the student is punished for what its teacher rules out, not for
    what it leaves out (Gu et al. 2024, "MiniLLM", eq. 1).
    """
    return kd_loss(teacher_logits_NC, student_logits_NC, temperature)


def js_loss(student_logits_NC: Tensor, teacher_logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """T²·JS(teacher, student), the Jensen–Shannon divergence of the distributions at T (Lin 1991, eq. 4.1).

    JS is symmetric and at most log 2. At a high T the loss is a quarter of `kd_loss`.
    """
    student_log_probs = log_soft_targets(student_logits_NC, temperature)
    teacher_log_probs = log_soft_targets(teacher_logits_NC, temperature)
    middle = torch.logaddexp(student_log_probs, teacher_log_probs) - math.log(2)
    return temperature**2 * (_divergence(teacher_log_probs, middle) + _divergence(student_log_probs, middle)) / 2


def logit_l1_loss(student_logits_NC: Tensor, teacher_logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean absolute difference of logits, as clients of FedMD minimise it (Li & Wang 2019). Has no temperature."""
    del temperature
    return F.l1_loss(at_least_float32(student_logits_NC), at_least_float32(teacher_logits_NC))


def logit_mse_loss(student_logits_NC: Tensor, teacher_logits_NC: Tensor, temperature: float = 1.0) -> Tensor:
    """Mean squared difference of logits (Ba & Caruana 2014), the limit of `kd_loss` for T → ∞ up to a shift and a
    factor of 2. Has no temperature.
    """
    del temperature
    return F.mse_loss(at_least_float32(student_logits_NC), at_least_float32(teacher_logits_NC))


def _divergence(of_log_probs: Tensor, from_log_probs: Tensor) -> Tensor:
    """KL(of ‖ from), the mean over the batch."""
    return F.kl_div(from_log_probs, of_log_probs, reduction="batchmean", log_target=True)


SoftLoss = Callable[[Tensor, Tensor, float], Tensor]

SOFT_LOSSES: Mapping[str, SoftLoss] = MappingProxyType(
    {"kl": kd_loss, "reverse_kl": reverse_kd_loss, "js": js_loss, "l1": logit_l1_loss, "mse": logit_mse_loss}
)
DIVERGENCES = ("kl", "reverse_kl", "js")
"""The soft losses that compare distributions, hence take a temperature and a teacher that is a distribution."""
DISTANCES = ("l1", "mse")
"""The soft losses that compare logits, hence take neither."""


def distillation_loss(
    student_logits_NC: Tensor,
    teacher_logits_NC: Tensor,
    labels_N: Tensor | None = None,
    *,
    temperature: float = 1.0,
    alpha: float = 1.0,
    label_smoothing: float = 0.0,
    soft_loss: SoftLoss = kd_loss,
) -> Tensor:
    """(1 − alpha)·CE(student, labels) + alpha·soft_loss(student, teacher, T).

    Args:
        student_logits_NC: the student's logits, with gradient.
        teacher_logits_NC: the teacher's logits, without; `logits_of(probs)` where it gives probabilities.
        labels_N: true classes; needed where alpha < 1.
        temperature: T of the soft loss; the hard loss always uses 1.
        alpha: weight of the soft loss, in [0, 1].
        label_smoothing: share of each hard label that is spread evenly over all classes.
        soft_loss: one of `SOFT_LOSSES`.

    Raises:
        ConfigError: alpha is outside [0, 1], or below 1 without labels.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError("alpha", alpha, "from 0 to 1")
    soft = soft_loss(student_logits_NC, teacher_logits_NC, temperature)
    if alpha == 1.0:
        return soft
    if labels_N is None:
        raise ConfigError("alpha", alpha, "1 where labels_N is None: the hard loss has weight 1 - alpha")
    hard: Tensor = F.cross_entropy(at_least_float32(student_logits_NC), labels_N, label_smoothing=label_smoothing)
    return torch.lerp(hard, soft, alpha)
