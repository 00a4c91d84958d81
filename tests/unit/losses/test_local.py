"""The loss of local training by name and by import path."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from fedkd.errors import ConfigError
from fedkd.training.config import TrainingConfig
from fedkd.training.loop import train_supervised

LABELS_N = torch.tensor([0, 0, 0, 1])
INPUTS_NCHW = torch.zeros(4, 1, 1, 3)


def balanced(logits_NC: Tensor, labels_N: Tensor, counts_C: Tensor, power: float = 1.0) -> Tensor:
    """Cross-entropy, each sample weighted by one over the size of its class to a power."""
    losses_N = nn.functional.cross_entropy(logits_NC, labels_N, reduction="none")
    return (losses_N / counts_C[labels_N] ** power).sum()


def by_sample(logits_NC: Tensor, labels_N: Tensor, counts_C: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits_NC, labels_N, reduction="none")


def train(**values: object) -> list[float]:
    """One batch of the untouched model, whose logits are (1, -1) for all four samples."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([1.0, -1.0])
    config = TrainingConfig.model_validate({"epochs": 1, **values})
    return train_supervised(model, INPUTS_NCHW, LABELS_N, config, num_classes=2, seed=0)


@pytest.mark.parametrize(("arguments", "power"), [({}, 1.0), ({"power": 2.0}, 2.0)])
def test_a_loss_of_ones_own_sees_logits_labels_and_the_counts_of_the_client(arguments, power) -> None:
    """log(1 + e⁻²) = 0.126928 where the class is 0, 2.126928 where it is 1; three samples of one, one of the other."""
    (loss,) = train(loss={"name": f"{__name__}:balanced", **arguments})
    assert loss == pytest.approx(3 * 0.126928 / 3**power + 2.126928, rel=1e-5)


def test_a_loss_that_is_no_mean_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"loss = .*by_sample' .* a scalar tensor.* this returns .* shape \[4\]"):
        train(loss=f"{__name__}:by_sample")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"loss": "cross_entrop"}, "did you mean 'cross_entropy'"),
        ({"loss": {"name": "cross_entropy", "label_smoothing": 0.1}}, "label_smoothing = 0.1: not an argument"),
        ({"loss": f"{__name__}:balanced", "label_smoothing": 0.1}, "label_smoothing = 0.1: 0.0 with loss"),
        ({"loss": f"{__name__}:balanced", "logit_adjustment": True}, "logit_adjustment = True: False with loss"),
        ({"loss": {"name": f"{__name__}:balanced", "powers": 1.0}}, "did you mean 'power'"),
    ],
    ids=str,
)
def test_what_is_no_loss_is_refused_with_the_section(values, match) -> None:
    with pytest.raises(ValidationError, match=match):
        TrainingConfig.model_validate(values)
