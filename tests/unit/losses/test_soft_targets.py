"""Soft targets and the curvature of the loss on them, against float64, autograd and torch.func."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import log_softmax, softmax
from scipy.stats import entropy

from fedkd.errors import ConfigError
from fedkd.losses import kd_loss, logits_of, soft_targets
from fedkd.seeding import numpy_rng

LOW_PRECISION = [torch.float16, torch.bfloat16]


def random_logits(*path: str | int, shape: tuple[int, int], scale: float = 3.0) -> torch.Tensor:
    return torch.from_numpy(numpy_rng(0, *path).normal(scale=scale, size=shape))


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100, 1000])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_soft_targets_agree_with_scipy_in_every_precision(num_classes, dtype, scale):
    logits_NC = random_logits(num_classes, shape=(4, num_classes)).clamp(-1, 1).mul(scale).to(dtype)
    probs_NC = soft_targets(logits_NC, 2.0)
    assert probs_NC.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    expected_NC = softmax(logits_NC.double().numpy() / 2, axis=1)  # of what the type kept of the logits
    np.testing.assert_allclose(probs_NC.numpy(), expected_NC, rtol=2e-5, atol=1e-7)


@settings(max_examples=50)
@given(
    hnp.arrays(np.float64, st.integers(2, 8), elements=st.floats(-50, 50)),
    st.floats(0.1, 20),
    st.floats(1.0, 10.0),
)
def test_entropy_rises_with_temperature(logits_C, temperature, factor):
    """dH/dT = Var_p(z)/T³ ≥ 0, strictly where the logits are not all equal."""
    cold, hot = (
        soft_targets(torch.from_numpy(logits_C)[None], t)[0].numpy() for t in (temperature, temperature * factor)
    )
    assert entropy(hot) >= entropy(cold) - 1e-9
    assert entropy(hot) <= np.log(len(logits_C)) + 1e-9


def test_the_derivative_of_entropy_is_the_variance_of_the_logits_over_temperature_cubed():
    logits_NC, temperature = random_logits("entropy", shape=(1, 6)), torch.tensor(2.5, dtype=torch.float64)

    def entropy_at(t: torch.Tensor) -> torch.Tensor:
        probs = torch.softmax(logits_NC / t, dim=1)
        return -(probs * probs.log()).sum()

    probs_C, logits_C = soft_targets(logits_NC, 2.5)[0], logits_NC[0]
    variance = (probs_C * logits_C.square()).sum() - (probs_C * logits_C).sum().square()
    assert float(torch.func.grad(entropy_at)(temperature)) == pytest.approx(float(variance) / 2.5**3, rel=1e-10)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is:FutureWarning")  # torch's own forward mode calls it
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_hessian_of_the_unscaled_loss_is_the_covariance_of_the_student_over_temperature_squared(temperature):
    """KL alone, without T²: (1/T²)·(diag(p) − p pᵀ), p the student's soft target; the teacher does not enter."""
    student_C, teacher_C = random_logits("student", shape=(1, 7))[0], random_logits("teacher", shape=(1, 7))[0]

    def unscaled(logits_C: torch.Tensor) -> torch.Tensor:
        return kd_loss(logits_C[None], teacher_C[None], temperature) / temperature**2

    probs = softmax(student_C.numpy() / temperature)
    expected_CC = (np.diag(probs) - np.outer(probs, probs)) / temperature**2
    np.testing.assert_allclose(torch.func.hessian(unscaled)(student_C).numpy(), expected_CC, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", LOW_PRECISION)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("num_classes", [2, 10, 1000])
@pytest.mark.parametrize("scale", [3.0, 1e4])
def test_low_precision_logits_give_the_loss_and_the_gradient_of_float64(dtype, temperature, num_classes, scale):
    student, teacher = (
        random_logits(who, num_classes, shape=(3, num_classes)).clamp(-1, 1).mul(scale).to(dtype) for who in ("s", "t")
    )
    student.requires_grad_()
    loss = kd_loss(student, teacher, temperature)
    loss.backward()
    zs, zt = student.detach().double().numpy(), teacher.double().numpy()
    log_ps, log_pt = (log_softmax(z / temperature, axis=1) for z in (zs, zt))
    expected = temperature**2 * (np.exp(log_pt) * (log_pt - log_ps)).sum(axis=1).mean()
    assert float(loss.detach()) == pytest.approx(expected, rel=2e-4, abs=1e-5)
    gradient_NC = temperature * (np.exp(log_ps) - np.exp(log_pt)) / 3
    resolution = torch.finfo(dtype).eps * temperature
    np.testing.assert_allclose(student.grad.double().numpy(), gradient_NC, rtol=2 * resolution, atol=1e-6)


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(0, 2**20))
def test_logits_of_a_distribution_give_it_back(num_classes, seed):
    probs_NC = torch.from_numpy(numpy_rng(seed, "p").dirichlet(np.full(num_classes, 0.3), size=5))
    np.testing.assert_allclose(soft_targets(logits_of(probs_NC)).numpy(), probs_NC.numpy(), rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_hard_distribution_becomes_finite_logits_that_teach_it(dtype):
    logits_NC = logits_of(torch.eye(3, dtype=dtype))
    assert torch.isfinite(logits_NC).all()
    student = torch.zeros(3, 3, requires_grad=True)
    kd_loss(student, logits_NC).backward()
    np.testing.assert_allclose(student.grad.numpy(), (np.full((3, 3), 1 / 3) - np.eye(3)) / 3, rtol=1e-5)


@pytest.mark.parametrize("probs", [[[0.5, 0.6]], [[1.5, -0.5]], [[float("nan"), 1.0]], [[0.0, 0.0]]])
def test_what_is_no_distribution_is_refused(probs):
    with pytest.raises(ConfigError, match=r"probs_NC = 'a tensor of shape \(1, 2\)' is not allowed"):
        logits_of(torch.tensor(probs))


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(ConfigError, match=r"temperature = .* is not allowed: above 0"):
        soft_targets(torch.zeros(1, 2), temperature)
