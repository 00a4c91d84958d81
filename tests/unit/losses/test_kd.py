"""Distillation losses against float64 computations that share no code with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import rel_entr, softmax
from torch import nn

from fedkd.errors import ConfigError
from fedkd.losses import distillation_loss, kd_loss, logit_l1_loss, logit_mse_loss
from fedkd.losses.kd import SOFT_LOSSES
from fedkd.seeding import numpy_rng

TEMPERATURES = [0.5, 1.0, 2.0, 10.0]


@st.composite
def logit_pairs(draw, bound=20.0):
    """Student's and teacher's logits of one shape [N, C], float64."""
    shape = (draw(st.integers(1, 6)), draw(st.integers(2, 7)))
    elements = st.floats(-bound, bound)
    return draw(hnp.arrays(np.float64, shape, elements=elements)), draw(
        hnp.arrays(np.float64, shape, elements=elements)
    )


def random_logits(*path: str, shape: tuple[int, int] = (5, 4), scale: float = 3.0) -> torch.Tensor:
    return torch.from_numpy(numpy_rng(0, *path).normal(scale=scale, size=shape))


def expected_kl(student_NC: np.ndarray, teacher_NC: np.ndarray, temperature: float) -> float:
    student_probs = softmax(student_NC.astype(np.float64) / temperature, axis=1)
    teacher_probs = softmax(teacher_NC.astype(np.float64) / temperature, axis=1)
    return temperature**2 * rel_entr(teacher_probs, student_probs).sum(axis=1).mean()


@settings(deadline=None, max_examples=30)
@given(logit_pairs(), st.sampled_from(TEMPERATURES))
def test_kd_loss_agrees_with_scipy(pair, temperature):
    student, teacher = pair
    loss = kd_loss(torch.from_numpy(student), torch.from_numpy(teacher), temperature)
    assert float(loss) == pytest.approx(expected_kl(student, teacher, temperature), rel=1e-9, abs=1e-9)


def test_kd_loss_in_float32_agrees_with_float64():
    student, teacher = random_logits("student"), random_logits("teacher")
    loss = kd_loss(student.float(), teacher.float(), 2.0)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(expected_kl(student.numpy(), teacher.numpy(), 2.0), rel=1e-5)


def test_the_divergence_runs_from_the_teacher_to_the_student():
    student, teacher = random_logits("student"), random_logits("teacher")
    assert float(kd_loss(student, teacher)) != pytest.approx(float(kd_loss(teacher, student)), rel=1e-2)


@settings(deadline=None, max_examples=30)
@given(logit_pairs(), st.sampled_from(TEMPERATURES))
def test_gradient_per_sample_is_temperature_times_the_difference_of_probabilities(pair, temperature):
    student, teacher = (torch.from_numpy(logits) for logits in pair)
    student.requires_grad_()
    (gradient_NC,) = torch.autograd.grad(kd_loss(student, teacher, temperature), student)
    p_student = softmax(pair[0] / temperature, axis=1)
    p_teacher = softmax(pair[1] / temperature, axis=1)
    expected_NC = temperature * (p_student - p_teacher) / len(pair[0])  # the mean over the batch divides by N
    np.testing.assert_allclose(gradient_NC.numpy(), expected_NC, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_temperature_squared_multiplies_the_loss_of_scaled_logits(temperature):
    student, teacher = random_logits("student"), random_logits("teacher")
    at_one = kd_loss(student / temperature, teacher / temperature, 1.0)
    assert float(kd_loss(student, teacher, temperature)) == pytest.approx(temperature**2 * float(at_one), rel=1e-12)


def test_high_temperature_matches_centred_logits():
    """Hinton et al. 2015, §2.1: the limit is 1/(2C)·‖centred difference‖² per sample."""
    student, teacher = random_logits("student"), random_logits("teacher")
    difference = (student - student.mean(dim=1, keepdim=True)) - (teacher - teacher.mean(dim=1, keepdim=True))
    limit = difference.square().sum(dim=1).mean() / (2 * student.shape[1])
    errors = [abs(float(kd_loss(student, teacher, t)) / float(limit) - 1) for t in (1e2, 1e3, 1e4)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-3


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("soft_loss", SOFT_LOSSES.values(), ids=SOFT_LOSSES.keys())
def test_extreme_logits_stay_finite_with_a_finite_gradient(soft_loss, temperature):
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [-1e4, 1e4, 1e4]])
    loss = soft_loss(student, teacher, temperature)
    loss.backward()
    assert torch.isfinite(loss)
    assert loss.item() > 0
    assert torch.isfinite(student.grad).all()
    assert torch.count_nonzero(student.grad[1]) == 0, "the second sample already answers like its teacher"


@pytest.mark.parametrize("soft_loss", SOFT_LOSSES.values(), ids=SOFT_LOSSES.keys())
def test_no_loss_where_student_and_teacher_agree(soft_loss):
    teacher = random_logits("teacher")
    assert float(soft_loss(teacher.clone(), teacher, 2.0)) == pytest.approx(0.0, abs=1e-12)


def test_a_shift_of_the_logits_changes_kl_not_at_all():
    student, teacher = random_logits("student"), random_logits("teacher")
    shifted = student + torch.arange(5.0)[:, None]
    assert float(kd_loss(shifted, teacher, 3.0)) == pytest.approx(float(kd_loss(student, teacher, 3.0)), rel=1e-12)


def test_a_teacher_given_as_log_probabilities_is_that_distribution():
    student, teacher = random_logits("student"), random_logits("teacher")
    as_log_probs = torch.log(torch.from_numpy(softmax(teacher.numpy(), axis=1)))
    assert float(kd_loss(student, as_log_probs)) == pytest.approx(float(kd_loss(student, teacher)), rel=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), [(logit_l1_loss, nn.L1Loss()), (logit_mse_loss, nn.MSELoss())])
def test_distances_of_logits_agree_with_torch_and_have_no_temperature(ours, theirs):
    student, teacher = random_logits("student"), random_logits("teacher")
    assert float(ours(student, teacher, 1.0)) == pytest.approx(float(theirs(student, teacher)), rel=1e-12)
    assert torch.equal(ours(student, teacher, 7.0), ours(student, teacher, 1.0))


@pytest.mark.parametrize("soft_loss", SOFT_LOSSES.values(), ids=SOFT_LOSSES.keys())
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_alpha_weighs_the_soft_loss_and_the_rest_is_hard_at_temperature_one(alpha, soft_loss):
    student, teacher, labels = random_logits("student"), random_logits("teacher"), torch.tensor([0, 1, 2, 3, 0])
    mixed = distillation_loss(student, teacher, labels, temperature=4.0, alpha=alpha, soft_loss=soft_loss)
    hard = -np.log(softmax(student.numpy(), axis=1)[np.arange(5), labels.numpy()]).mean()
    expected = (1 - alpha) * hard + alpha * float(soft_loss(student, teacher, 4.0))
    assert float(mixed) == pytest.approx(expected, rel=1e-12)


def test_a_teacher_alone_needs_no_labels():
    student, teacher = random_logits("student"), random_logits("teacher")
    assert torch.equal(distillation_loss(student, teacher, temperature=2.0), kd_loss(student, teacher, 2.0))


@pytest.mark.parametrize("alpha", [0.0, 0.999])
def test_a_hard_loss_without_labels_is_refused(alpha):
    with pytest.raises(ConfigError, match=f"alpha = {alpha} is not allowed: 1 where labels_N is None"):
        distillation_loss(random_logits("student"), random_logits("teacher"), alpha=alpha)
