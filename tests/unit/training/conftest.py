"""Small problems and models for the tests of training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from fedkd.seeding import isolated_torch_rng, torch_rng

MakeModel = Callable[..., nn.Module]


@pytest.fixture
def make_model() -> MakeModel:
    """Factory of small networks on [N, 1, 4, 4] images; `dropout` and `batch_norm` add such layers."""

    def make(num_classes: int = 3, *, dropout: float = 0.0, batch_norm: bool = False, seed: int = 0) -> nn.Module:
        with isolated_torch_rng(seed):
            layers: list[nn.Module] = [nn.Flatten(), nn.Linear(16, 8)]
            layers += [nn.BatchNorm1d(8)] if batch_norm else []
            layers += [nn.ReLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
            return nn.Sequential(*layers, nn.Linear(8, num_classes))

    return make


@pytest.fixture
def problem() -> tuple[Tensor, Tensor]:
    """Images [21, 1, 4, 4] and labels of three classes, each class bright in its own row."""
    labels_N = torch.arange(21) % 3
    images_NCHW = torch.randn(21, 1, 4, 4, generator=torch_rng(0, "images"))
    images_NCHW[torch.arange(21), 0, labels_N] += 2.0
    return images_NCHW, labels_N
