"""Optimisers by name and by import path, against torch's own made by hand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from fedkd.errors import ConfigError
from fedkd.training.config import OptimizerSection
from fedkd.training.optimizers import make_optimizer


class Unscaled(torch.optim.Optimizer):
    """w ← w − lr · gradient · scale, without weight decay."""

    def __init__(self, params, *, lr: float, scale: float = 1.0) -> None:
        super().__init__(params, {"lr": lr, "scale": scale})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= group["lr"] * group["scale"] * parameter.grad


def not_an_optimizer(params, *, lr: float) -> list[Tensor]:
    return list(params)


def failing(params, *, lr: float) -> torch.optim.Optimizer:
    raise RuntimeError("out of luck")


def section(**values: object) -> OptimizerSection:
    return OptimizerSection.model_validate({"learning_rate": 0.1, **values})


def weights_after_three_steps(optimizer: torch.optim.Optimizer, weights: nn.Parameter) -> Tensor:
    """Three steps on the loss Σ w³."""
    for _ in range(3):
        optimizer.zero_grad()
        weights.pow(3).sum().backward()
        optimizer.step()
    return weights.detach()


def parameter() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))


@pytest.mark.parametrize(
    ("values", "kind", "arguments"),
    [
        ({"optimizer": "sgd"}, torch.optim.SGD, {"momentum": 0.9}),
        ({"optimizer": {"name": "sgd", "nesterov": True}}, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        ({"optimizer": {"name": "adam", "betas": [0.5, 0.8]}}, torch.optim.Adam, {"betas": (0.5, 0.8)}),
        ({"optimizer": "torch.optim:AdamW"}, torch.optim.AdamW, {"weight_decay": 0.0}),
        ({"optimizer": "torch.optim:SGD"}, torch.optim.SGD, {}),
        (
            {"optimizer": {"name": "torch.optim:RMSprop", "alpha": 0.5}, "weight_decay": 0.01},
            torch.optim.RMSprop,
            {"alpha": 0.5, "weight_decay": 0.01},
        ),
        ({"optimizer": "torch.optim:Rprop"}, torch.optim.Rprop, {}),
    ],
    ids=str,
)
def test_steps_are_those_of_torch(values, kind, arguments) -> None:
    ours, theirs = parameter(), parameter()
    made = make_optimizer(iter([ours]), section(**values))
    expected = weights_after_three_steps(kind([theirs], lr=0.1, **arguments), theirs)
    assert torch.equal(weights_after_three_steps(made, ours), expected)


def test_a_class_of_ones_own_gets_rate_and_arguments() -> None:
    """One step on Σ w at rate 0.1·0.5 and scale 2 takes 0.1 off each weight."""
    weights = parameter()
    made = make_optimizer(iter([weights]), section(optimizer={"name": f"{__name__}:Unscaled", "scale": 2.0}), 0.5)
    weights.sum().backward()
    made.step()
    torch.testing.assert_close(weights.detach(), torch.tensor([0.9, -2.1, 0.4]))


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"optimizer": {"name": "adam", "beta": 1}}, "beta = 1: not an argument of this part"),
        ({"optimizer": {"name": "adam", "betas": "x"}}, "betas = 'x'"),
        ({"optimizer": {"name": "adam", "lr": 0.1}}, "lr = 0.1: not an argument of this part"),
        ({"optimizer": {"name": "sgd", "momentum": 0.1}}, "momentum = 0.1: not an argument of this part"),
        ({"optimizer": "no_such_module_here:Optimizer"}, "does not import"),
        ({"optimizer": "torch.optim:Rprop", "weight_decay": 0.1}, "weight_decay = 0.1: 0 with optimizer"),
        ({"optimizer": 3}, "optimizer"),
    ],
    ids=str,
)
def test_what_cannot_be_made_is_refused_with_the_section(values, match) -> None:
    with pytest.raises(ValidationError, match=match):
        section(**values)


@pytest.mark.parametrize(
    ("path", "match"),
    [
        (f"{__name__}:not_an_optimizer", "a Optimizer; this makes a list"),
        (f"{__name__}:failing", "RuntimeError: out of luck"),
        ("torch.optim:LBFGS", "an optimiser whose step needs no closure"),
    ],
)
def test_a_factory_that_makes_no_optimizer_for_the_loop_is_refused(path, match) -> None:
    with pytest.raises(ConfigError, match=match):
        make_optimizer(iter([parameter()]), section(optimizer=path))
