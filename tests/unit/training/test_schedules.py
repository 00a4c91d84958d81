"""Schedules against torch's own: the learning rate that each step and each round trains at."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, MultiStepLR

from fedkd.errors import ConfigError
from fedkd.parts import PartConfig
from fedkd.seeding import torch_rng
from fedkd.training.config import TrainingConfig
from fedkd.training.loop import batches, num_batches, train_supervised
from fedkd.training.schedules import make_schedule, round_factor

STEPS = 12


def part(value: object) -> PartConfig:
    return PartConfig.model_validate(value)


def sgd() -> torch.optim.SGD:
    return torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)


def rates(optimizer: torch.optim.Optimizer, schedule: LRScheduler) -> list[float]:
    """The learning rate of each of `STEPS` steps."""
    seen = []
    for _ in range(STEPS):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return seen


REFERENCES = [
    ("cosine", lambda optimizer, steps: CosineAnnealingLR(optimizer, steps)),
    ({"name": "cosine", "final": 0.2}, lambda optimizer, steps: CosineAnnealingLR(optimizer, steps, eta_min=0.1)),
    ("linear", lambda optimizer, steps: LinearLR(optimizer, 1.0, 0.0, total_iters=steps)),
    ("step", lambda optimizer, steps: MultiStepLR(optimizer, [steps // 2, 3 * steps // 4], gamma=0.1)),
    (
        {"name": "step", "milestones": [0.25], "gamma": 0.5},
        lambda optimizer, steps: MultiStepLR(optimizer, [steps // 4], gamma=0.5),
    ),
    ("torch.optim.lr_scheduler:CosineAnnealingLR", lambda optimizer, steps: CosineAnnealingLR(optimizer, steps)),
]


@pytest.mark.parametrize(
    ("value", "reference"), REFERENCES, ids=lambda value: None if callable(value) else str(value)[:60]
)
def test_the_rate_of_each_step_is_torchs(value, reference) -> None:
    ours, theirs = sgd(), sgd()
    expected = rates(theirs, reference(theirs, STEPS))
    made = make_schedule(part(value), ours, STEPS)
    assert isinstance(made, LRScheduler)
    assert rates(ours, made) == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize(
    ("value", "reference"), REFERENCES[:5], ids=lambda value: None if callable(value) else str(value)[:60]
)
def test_the_rate_of_each_round_is_torchs_after_as_many_steps(value, reference) -> None:
    theirs = sgd()
    expected = rates(theirs, reference(theirs, STEPS))
    factors = [round_factor(part(value), server_round, STEPS) for server_round in range(1, STEPS + 1)]
    assert [0.5 * factor for factor in factors] == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_constant_is_no_schedule_and_the_factor_one() -> None:
    assert make_schedule(part("constant"), sgd(), STEPS) is None
    assert round_factor(part("constant"), 3, 7) == 1.0


@settings(deadline=None, max_examples=50)
@given(num_samples=st.integers(0, 60), batch_size=st.integers(1, 20))
def test_the_number_of_steps_is_that_of_the_batches(num_samples, batch_size) -> None:
    assert num_batches(num_samples, batch_size) == len(batches(num_samples, batch_size, torch_rng(0)))


def halved(server_round: int, num_rounds: int, base: float = 0.5) -> float:
    return base**server_round


def stops(optimizer: torch.optim.Optimizer, num_steps: int) -> LRScheduler:
    """Rate 0 from the second step on."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: float(done == 0))


def a_number(optimizer: torch.optim.Optimizer, num_steps: int) -> float:
    return 0.5


def text(server_round: int, num_rounds: int) -> str:
    return "half"


def infinite(server_round: int, num_rounds: int) -> float:
    return math.inf


def train_once(model: nn.Module, problem, server_round: int = 1, num_rounds: int = 1, **values: object) -> torch.Tensor:
    config = TrainingConfig.model_validate({"epochs": 1, "batch_size": 7, "learning_rate": 0.2, **values})
    train_supervised(model, *problem, config, num_classes=3, seed=0, server_round=server_round, num_rounds=num_rounds)
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def test_the_loop_steps_the_schedule(make_model, problem) -> None:
    """With rate 0 after the first step, what is learnt is that of a single batch: three batches, as many rates."""
    whole, first = make_model(), make_model()
    with_schedule = train_once(whole, problem, schedule=f"{__name__}:stops", momentum=0.0)
    order = batches(21, 7, torch_rng(0, "order"))[0]
    loss = nn.functional.cross_entropy(first(problem[0][order]), problem[1][order])
    gradients = torch.autograd.grad(loss, list(first.parameters()))
    by_hand = [p - 0.2 * gradient for p, gradient in zip(first.parameters(), gradients, strict=True)]
    torch.testing.assert_close(with_schedule, nn.utils.parameters_to_vector(by_hand).detach())


def test_a_later_round_trains_at_its_factor_of_the_rate(make_model, problem) -> None:
    """Round 2 at base 0.5 has a quarter of the rate, to the bits."""
    scheduled = train_once(make_model(), problem, 2, 4, round_schedule=f"{__name__}:halved")
    assert torch.equal(scheduled, train_once(make_model(), problem, learning_rate=0.05))
    assert torch.equal(
        train_once(make_model(), problem, 1, 4, round_schedule="cosine"), train_once(make_model(), problem)
    )


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"schedule": {"name": "cosine", "final": 2.0}}, "final = 2.0"),
        ({"round_schedule": {"name": "step", "milestones": [0.5, 1.5]}}, "milestones.1 = 1.5"),
        ({"round_schedule": {"name": "linear", "gamma": 0.1}}, "not an argument of this part"),
        ({"schedule": "math:floor"}, "called with 2 values by position; this takes 1"),
    ],
    ids=lambda value: None if callable(value) else str(value),
)
def test_what_is_no_schedule_is_refused_with_the_section(values, match) -> None:
    with pytest.raises(ValidationError, match=match):
        TrainingConfig.model_validate(values)


@pytest.mark.parametrize(("name", "given"), [("text", "'half'"), ("infinite", "inf")])
def test_a_factor_that_is_none_is_refused(name, given) -> None:
    with pytest.raises(ConfigError, match=f"a factor of at least 0; round 1 of 2 has {given}"):
        round_factor(part(f"{__name__}:{name}"), 1, 2)


def test_a_schedule_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="a LRScheduler; this makes a float"):
        make_schedule(part(f"{__name__}:a_number"), sgd(), 3)
