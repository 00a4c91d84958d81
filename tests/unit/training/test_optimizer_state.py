from __future__ import annotations

import pytest
import torch
from torch import nn

from fedkd.training.config import OptimizerSection
from fedkd.training.optimizer_state import load_optimizer, read_optimizer
from fedkd.training.optimizers import make_optimizer


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, times: int) -> None:
    for _ in range(times):
        optimizer.zero_grad()
        (model(torch.arange(8.0).reshape(2, 4)) - 1).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_an_optimiser_goes_on_where_another_was(name: str, momentum: float) -> None:
    config = OptimizerSection(optimizer=name, learning_rate=0.001, momentum=momentum)
    through, moved = nn.Linear(4, 3), nn.Linear(4, 3)
    moved.load_state_dict(through.state_dict())
    optimizer, first = make_optimizer(through.parameters(), config), make_optimizer(moved.parameters(), config)
    _step(through, optimizer, 5)
    _step(moved, first, 2)
    second = make_optimizer(moved.parameters(), config)
    load_optimizer(second, read_optimizer(first))
    _step(moved, second, 3)
    assert torch.equal(through.weight, moved.weight)
    assert torch.equal(through.bias, moved.bias)


def test_what_is_read_is_a_copy() -> None:
    model = nn.Linear(4, 3)
    optimizer = make_optimizer(model.parameters(), OptimizerSection(optimizer="adam"))
    assert read_optimizer(optimizer) == {}
    _step(model, optimizer, 1)
    before = read_optimizer(optimizer)
    kept = {key: array.copy() for key, array in before.items()}
    _step(model, optimizer, 1)
    assert set(before) == {f"{number}/{name}" for number in (0, 1) for name in ("step", "exp_avg", "exp_avg_sq")}
    assert all((before[key] == kept[key]).all() for key in before)
