from __future__ import annotations

import pytest
from pydantic import ValidationError

from fedkd.training.config import OptimizerSection, TrainingConfig


def test_defaults():
    assert TrainingConfig().model_dump() == {
        "epochs": 2,
        "batch_size": 32,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "schedule": "constant",
        "round_schedule": "constant",
        "momentum": 0.9,
        "weight_decay": 0.0,
        "max_grad_norm": 0.0,
        "loss": "cross_entropy",
        "label_smoothing": 0.0,
        "logit_adjustment": False,
        "logit_adjustment_eps": 0.01,
        "augmentation": (),
        "terms": (),
    }


@pytest.mark.parametrize("section", [OptimizerSection, TrainingConfig])
def test_every_key_is_described(section):
    assert all(field.description for field in section.model_fields.values())


@pytest.mark.parametrize(
    "values",
    [
        {"epochs": -1},
        {"batch_size": 0},
        {"optimizer": "lion"},
        {"learning_rate": 0},
        {"learning_rate": float("nan")},
        {"momentum": 1.0},
        {"weight_decay": -1e-9},
        {"max_grad_norm": float("inf")},
        {"logit_adjustment_eps": 0.0},
        {"lr": 0.1},
    ],
    ids=str,
)
def test_values_out_of_range_and_unknown_keys_are_refused(values):
    (key,) = values
    with pytest.raises(ValidationError, match=key):
        TrainingConfig(**values)
