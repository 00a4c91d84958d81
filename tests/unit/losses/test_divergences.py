"""The other divergences, against scipy in float64 and their limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr, softmax

from fedkd.errors import ConfigError
from fedkd.losses import distillation_loss, js_loss, kd_loss, reverse_kd_loss
from fedkd.losses.kd import DIVERGENCES, SOFT_LOSSES
from fedkd.seeding import numpy_rng


def pair(seed: int, shape: tuple[int, int] = (5, 4), scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = numpy_rng(seed, "pair")
    return torch.from_numpy(rng.normal(scale=scale, size=shape)), torch.from_numpy(rng.normal(scale=scale, size=shape))


@settings(max_examples=30)
@given(st.integers(0, 2**20), st.sampled_from([0.5, 1.0, 3.0]), st.integers(2, 30))
def test_they_agree_with_scipy(seed, temperature, num_classes):
    student, teacher = pair(seed, (4, num_classes))
    ps, pt = (softmax(logits.numpy() / temperature, axis=1) for logits in (student, teacher))
    reverse = temperature**2 * rel_entr(ps, pt).sum(axis=1).mean()
    js = temperature**2 * np.square(jensenshannon(pt, ps, axis=1)).mean()
    assert float(reverse_kd_loss(student, teacher, temperature)) == pytest.approx(reverse, rel=1e-9)
    assert float(js_loss(student, teacher, temperature)) == pytest.approx(js, rel=1e-9, abs=1e-12)


def test_the_gradient_of_the_reverse_divergence():
    """T·p_j·(log p_j^s − log p_j^t − KL), per sample."""
    student, teacher = pair(0)
    student.requires_grad_()
    (gradient_NC,) = torch.autograd.grad(reverse_kd_loss(student, teacher, 2.0), student)
    ps, pt = (softmax(logits.detach().numpy() / 2, axis=1) for logits in (student, teacher))
    log_ratio = np.log(ps / pt)
    expected_NC = 2 * ps * (log_ratio - (ps * log_ratio).sum(axis=1, keepdims=True)) / 5
    np.testing.assert_allclose(gradient_NC.numpy(), expected_NC, rtol=1e-9, atol=1e-12)


def test_js_is_symmetric_and_at_most_log_two():
    student, teacher = pair(1, scale=30.0)
    assert float(js_loss(student, teacher)) == pytest.approx(float(js_loss(teacher, student)), rel=1e-12)
    apart = torch.tensor([[1e4, -1e4]]), torch.tensor([[-1e4, 1e4]])
    assert float(js_loss(*apart)) == pytest.approx(np.log(2), rel=1e-6)


def test_at_a_high_temperature_all_three_match_logits():
    student, teacher = pair(2)
    kl = float(kd_loss(student, teacher, 1e4))
    assert float(reverse_kd_loss(student, teacher, 1e4)) == pytest.approx(kl, rel=1e-3)
    assert float(js_loss(student, teacher, 1e4)) == pytest.approx(kl / 4, rel=1e-3)


@pytest.mark.parametrize("name", DIVERGENCES)
@pytest.mark.parametrize("num_classes", [2, 1000])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extreme_logits_stay_finite_for_any_number_of_classes(name, num_classes, dtype):
    student, teacher = (logits.sign().mul(1e4).to(dtype) for logits in pair(3, (4, num_classes)))
    student.requires_grad_()
    loss = SOFT_LOSSES[name](student, teacher, 4.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_error_of_a_divergence_in_float32_is_what_the_module_says(name):
    student, teacher = pair(4, (64, 100))
    for temperature in (1.0, 10.0, 100.0):
        exact = float(SOFT_LOSSES[name](student, teacher, temperature))
        rounded = float(SOFT_LOSSES[name](student.float(), teacher.float(), temperature))
        assert rounded == pytest.approx(exact, rel=1e-5, abs=1e-6 * temperature**2)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_a_weight_outside_its_range_is_refused(alpha):
    with pytest.raises(ConfigError, match=r"alpha = .* is not allowed: from 0 to 1"):
        distillation_loss(*pair(0), torch.zeros(5, dtype=torch.long), alpha=alpha)
