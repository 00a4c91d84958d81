"""Hints and attention transfer against NumPy, closed forms and autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedkd.errors import ModelError
from fedkd.losses import HintLoss, attention_loss, attention_map, hint_loss
from fedkd.seeding import isolated_torch_rng, numpy_rng


def maps(*path: str | int, shape: tuple[int, ...] = (4, 3, 5, 6)) -> torch.Tensor:
    return torch.from_numpy(numpy_rng(0, *path).normal(size=shape))


def test_the_hint_loss_is_half_the_squared_distance_of_a_sample():
    student, teacher = maps("student").requires_grad_(), maps("teacher")
    loss = hint_loss(student, teacher)
    expected = 0.5 * np.square(student.detach().numpy() - teacher.numpy()).reshape(4, -1).sum(axis=1).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    (gradient,) = torch.autograd.grad(loss, student)
    np.testing.assert_allclose(gradient.numpy(), (student.detach() - teacher).numpy() / 4, rtol=1e-12)


@pytest.mark.parametrize(
    ("student", "teacher"), [((6,), (9,)), ((3, 5, 6), (7, 5, 6)), ((3, 5, 6), (2, 3, 1)), ((4, 1, 1), (8, 1, 1))]
)
def test_the_regressor_fits_the_teacher_and_learns(student, teacher):
    with isolated_torch_rng(0):
        loss = HintLoss(student, teacher)
    ours, theirs = maps("s", shape=(5, *student)).float(), maps("t", shape=(5, *teacher)).float()
    loss(ours, theirs).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.parameters())
    assert loss.regressor(ours).shape == theirs.shape


def test_between_vectors_the_best_regressor_is_least_squares():
    """On more units than samples the teacher is reached; else the residual is that of `numpy.linalg.lstsq`."""
    ours, theirs = maps("s", shape=(30, 4)), maps("t", shape=(30, 3))
    with isolated_torch_rng(0):
        loss = HintLoss((4,), (3,)).double()
    optimizer = torch.optim.LBFGS(loss.parameters(), max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss(ours, theirs)
        value.backward()
        return value

    optimizer.step(closure)
    design = np.hstack([ours.numpy(), np.ones((30, 1))])
    _, residuals, *_ = np.linalg.lstsq(design, theirs.numpy(), rcond=None)
    assert loss(ours, theirs).item() == pytest.approx(residuals.sum() / 60, rel=1e-8)


@pytest.mark.parametrize(
    ("student", "teacher"), [((6,), (3, 5, 5)), ((3, 4, 4), (3, 5, 4)), ((3, 4), (3, 4)), ((), ())]
)
def test_shapes_without_a_regressor_are_refused(student, teacher):
    with pytest.raises(ModelError, match="no regressor from student features"):
        HintLoss(student, teacher)


def test_features_of_other_shapes_need_a_regressor():
    with pytest.raises(ModelError, match=r"\(4, 3\) do not fit the teacher's \(4, 1\): put a HintLoss"):
        hint_loss(torch.zeros(4, 3), torch.zeros(4, 1))


def test_attention_agrees_with_numpy_for_any_numbers_of_channels():
    student, teacher = maps("student"), maps("teacher", shape=(4, 11, 5, 6))

    def attention(features: np.ndarray) -> np.ndarray:
        summed = np.square(features).sum(axis=1).reshape(len(features), -1)
        return summed / np.linalg.norm(summed, axis=1, keepdims=True)

    np.testing.assert_allclose(attention_map(student).numpy(), attention(student.numpy()), rtol=1e-12)
    expected = np.square(attention(student.numpy()) - attention(teacher.numpy())).sum(axis=1).mean()
    assert float(attention_loss(student, teacher)) == pytest.approx(expected, rel=1e-12)


def test_attention_does_not_see_the_scale_or_the_order_of_channels():
    student = maps("student")
    assert float(attention_loss(7.0 * student.flip(1), student)) == pytest.approx(0.0, abs=1e-20)


def test_the_gradient_of_attention_is_right_and_finite_where_nothing_is_active():
    student, teacher = maps("student", shape=(2, 2, 3, 2)).requires_grad_(), maps("teacher", shape=(2, 4, 3, 2))
    assert torch.autograd.gradcheck(lambda features: attention_loss(features, teacher), student)
    dead = torch.zeros(2, 2, 3, 2, requires_grad=True)
    attention_loss(dead, teacher).backward()
    assert torch.count_nonzero(dead.grad) == 0


@pytest.mark.parametrize(
    ("student", "message"), [((4, 3), "no attention map"), ((4, 3, 5, 5), "do not fit"), ((3, 3, 5, 6), "do not fit")]
)
def test_maps_that_do_not_fit_are_refused(student, message):
    with pytest.raises(ModelError, match=message):
        attention_loss(torch.zeros(student), torch.zeros(4, 3, 5, 6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", [hint_loss, attention_loss], ids=["hint", "attention"])
def test_low_precision_is_computed_in_float32(loss, dtype):
    student, teacher = (100 * maps(who).to(dtype) for who in ("student", "teacher"))
    value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert float(value) == pytest.approx(float(loss(student.double(), teacher.double())), rel=1e-5)
    assert isinstance(value, torch.Tensor)
    assert not isinstance(value, nn.Parameter)
