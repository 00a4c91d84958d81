"""Hidden states and attention matrices, against NumPy in float64 and least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedkd.errors import ModelError
from fedkd.losses import HiddenStateLoss, attention_matrix_loss
from fedkd.seeding import torch_rng

SAMPLES, LENGTH, HEADS = 5, 6, 3


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch_rng(seed, "features"), dtype=torch.float64)


def test_attention_is_compared_head_by_head() -> None:
    student, teacher = (_random(SAMPLES, HEADS, LENGTH, LENGTH, seed=seed) for seed in (0, 1))
    per_sample = [
        sum(np.square(student[n, head].numpy() - teacher[n, head].numpy()).mean() for head in range(HEADS)) / HEADS
        for n in range(SAMPLES)
    ]
    np.testing.assert_allclose(float(attention_matrix_loss(student, teacher)), np.mean(per_sample), rtol=1e-12)


def test_the_gradient_of_attention_is_its_closed_form() -> None:
    student, teacher = (_random(SAMPLES, HEADS, LENGTH, LENGTH, seed=seed) for seed in (0, 1))
    attention_matrix_loss(student.requires_grad_(), teacher).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(student.grad, 2 * (student - teacher).detach() / student.numel(), rtol=1e-12, atol=0)


def test_hidden_states_are_projected_then_compared() -> None:
    student, teacher = _random(SAMPLES, LENGTH, 4), _random(SAMPLES, LENGTH, 7, seed=1)
    loss = HiddenStateLoss(4, 7).double()
    projected = student.numpy() @ loss.projection.weight.detach().numpy().T
    np.testing.assert_allclose(
        float(loss(student, teacher).detach()), np.square(projected - teacher.numpy()).mean(), rtol=1e-12
    )


def test_the_best_projection_is_that_of_least_squares() -> None:
    student, teacher = _random(SAMPLES, LENGTH, 4), _random(SAMPLES, LENGTH, 7, seed=1)
    flat, target = student.flatten(0, 1).numpy(), teacher.flatten(0, 1).numpy()
    solution, residuals, *_ = np.linalg.lstsq(flat, target, rcond=None)
    loss = HiddenStateLoss(4, 7).double()
    with torch.no_grad():
        loss.projection.weight.copy_(torch.from_numpy(solution.T))
    value = loss(student, teacher)
    np.testing.assert_allclose(float(value.detach()), residuals.sum() / teacher.numel(), rtol=1e-10)
    value.backward()
    torch.testing.assert_close(loss.projection.weight.grad, torch.zeros(7, 4, dtype=torch.float64), rtol=0, atol=1e-12)


def test_equal_attention_and_states_of_padding_cost_nothing() -> None:
    attention = _random(SAMPLES, HEADS, LENGTH, LENGTH)
    assert float(attention_matrix_loss(attention, attention)) == 0
    zeros = torch.zeros(SAMPLES, LENGTH, 4), torch.zeros(SAMPLES, LENGTH, 7)
    assert float(HiddenStateLoss(4, 7)(*zeros).detach()) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(dtype: torch.dtype) -> None:
    student, teacher = (100 * _random(8, HEADS, 32, 32, seed=seed).to(dtype) for seed in (0, 1))
    value = attention_matrix_loss(student, teacher)
    assert value.dtype == torch.float32
    np.testing.assert_allclose(
        float(value), float(attention_matrix_loss(student.double(), teacher.double())), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "match"),
    [
        ((2, 3, 4, 4), (2, 2, 4, 4), "N, heads and tokens must be equal"),
        ((2, 3, 4, 5), (2, 3, 4, 5), "are no attention matrices"),
        ((2, 4, 4), (2, 4, 4), "are no attention matrices"),
    ],
)
def test_attention_of_other_shapes_is_refused(ours: tuple[int, ...], theirs: tuple[int, ...], match: str) -> None:
    with pytest.raises(ModelError, match=match):
        attention_matrix_loss(_random(*ours), _random(*theirs))


@pytest.mark.parametrize(
    ("ours", "theirs"), [((2, 5, 4), (2, 6, 7)), ((2, 5, 3), (2, 5, 7)), ((2, 5, 4), (2, 5, 4)), ((2, 4), (2, 7))]
)
def test_states_of_other_shapes_are_refused(ours: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"\[N, L, 4\] and \[N, L, 7\] are allowed"):
        HiddenStateLoss(4, 7)(_random(*ours).float(), _random(*theirs).float())
