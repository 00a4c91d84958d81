"""Label smoothing alone and beside a teacher: where the optimum of the mixed loss lies, found numerically."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import root
from scipy.special import softmax
from torch import nn

from fedkd.losses import distillation_loss, kd_loss, logits_of, smoothed_labels
from fedkd.seeding import numpy_rng

CLASSES, LABEL = 5, 2


def teacher() -> torch.Tensor:
    return torch.from_numpy(numpy_rng(0, "teacher").normal(scale=2.0, size=(1, CLASSES)))


def optimum(temperature: float, alpha: float, label_smoothing: float) -> np.ndarray:
    """The logits [C], of mean 0, at which the gradient of the mixed loss of one sample vanishes; the loss is convex."""

    def gradient(logits_C: np.ndarray) -> np.ndarray:
        student = torch.from_numpy(logits_C)[None].requires_grad_()
        loss = distillation_loss(
            student,
            teacher(),
            torch.tensor([LABEL]),
            temperature=temperature,
            alpha=alpha,
            label_smoothing=label_smoothing,
        )
        (gradient_NC,) = torch.autograd.grad(loss, student)
        return gradient_NC[0].numpy() + logits_C.mean()  # the loss sees logits up to a shift; this takes one

    found = root(gradient, np.zeros(CLASSES), method="hybr", tol=1e-13)
    assert np.abs(found.fun).max() < 1e-10
    return found.x


def smoothed(label_smoothing: float) -> np.ndarray:
    return (1 - label_smoothing) * np.eye(CLASSES)[LABEL] + label_smoothing / CLASSES


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.9])
def test_the_smoothed_labels_are_those_of_torch(label_smoothing):
    logits_NC = torch.from_numpy(numpy_rng(1, "logits").normal(size=(6, CLASSES)))
    labels_N = torch.tensor([0, 1, 2, 3, 4, 0])
    targets_NC = smoothed_labels(labels_N, CLASSES, label_smoothing).double()
    np.testing.assert_allclose(targets_NC[2].numpy(), smoothed(label_smoothing), atol=1e-7)
    ours = -(targets_NC * logits_NC.log_softmax(dim=1)).sum(dim=1).mean()
    theirs = nn.CrossEntropyLoss(label_smoothing=label_smoothing)(logits_NC, labels_N)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_smoothing_alone_is_distillation_from_a_teacher_that_knows_nothing():
    """CE on smoothed labels = (1 − ε)·CE + ε·KL(uniform ‖ student) + ε·log C."""
    student = torch.from_numpy(numpy_rng(2, "logits").normal(size=(4, CLASSES)))
    labels_N, nothing = torch.tensor([0, 1, 2, 3]), logits_of(torch.full((4, CLASSES), 1 / CLASSES).double())
    mixed = distillation_loss(student, nothing, labels_N, alpha=0.1)
    whole = nn.CrossEntropyLoss(label_smoothing=0.1)(student, labels_N)
    assert float(whole) == pytest.approx(float(mixed) + 0.1 * np.log(CLASSES), rel=1e-12)
    assert float(kd_loss(nothing, nothing)) == 0.0


@pytest.mark.parametrize("label_smoothing", [0.05, 0.3])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_at_temperature_one_the_optimum_is_the_mixture_of_the_targets(alpha, label_smoothing):
    expected = (1 - alpha) * smoothed(label_smoothing) + alpha * softmax(teacher()[0].numpy())
    np.testing.assert_allclose(softmax(optimum(1.0, alpha, label_smoothing)), expected, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 2.0, 8.0])
@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_at_another_temperature_the_students_own_mixture_meets_that_of_the_targets(alpha, temperature):
    """(1 − α)·p₁ + αT·p_T = (1 − α)·y + αT·q_T: the same mixture of the student at both temperatures."""
    logits_C, target_C = optimum(temperature, alpha, 0.1), teacher()[0].numpy()
    weight = alpha * temperature
    ours = (1 - alpha) * softmax(logits_C) + weight * softmax(logits_C / temperature)
    theirs = (1 - alpha) * smoothed(0.1) + weight * softmax(target_C / temperature)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    at_one = (1 - alpha) * smoothed(0.1) + alpha * softmax(target_C)
    assert np.abs(softmax(logits_C) - at_one).max() > 1e-3, "the mixture of T = 1 is no longer the optimum"


def test_for_a_high_temperature_the_optimum_is_the_teacher_moved_by_the_hard_residual():
    """z = z_t + C·(1 − α)/α·(y − p₁), logits of mean 0: a proximal step from the teacher."""
    alpha, temperature = 0.5, 1e4
    logits_C, target_C = optimum(temperature, alpha, 0.1), teacher()[0].numpy()
    residual = smoothed(0.1) - softmax(logits_C)
    expected = target_C - target_C.mean() + CLASSES * (1 - alpha) / alpha * residual
    np.testing.assert_allclose(logits_C, expected, atol=1e-3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_where_the_targets_agree_the_teacher_is_the_optimum_at_any_temperature(temperature):
    """y = q₁ makes both gradients vanish at the teacher's logits."""
    logits = teacher().requires_grad_()
    hard = nn.CrossEntropyLoss()(logits, softmax_of(logits))
    (gradient_NC,) = torch.autograd.grad(0.5 * hard + 0.5 * kd_loss(logits, teacher(), temperature), logits)
    np.testing.assert_allclose(gradient_NC.numpy(), 0.0, atol=1e-12)


def softmax_of(logits: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(softmax(logits.detach().numpy(), axis=1))
