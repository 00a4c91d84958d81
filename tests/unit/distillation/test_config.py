from __future__ import annotations

import pytest
from pydantic import ValidationError

from fedkd.distillation import DistillationConfig, ObjectiveConfig, StudentConfig

SHARED = {
    "epochs": 5,
    "batch_size": 64,
    "optimizer": "adam",
    "learning_rate": 0.001,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "max_grad_norm": 0.0,
    "schedule": "constant",
    "round_schedule": "constant",
    "objective": {"loss": "kl", "temperature": 1.0, "alpha": 1.0, "label_smoothing": 0.0, "terms": ()},
    "holdout_fraction": 0.0,
    "patience": 0,
}


def test_defaults():
    assert DistillationConfig().model_dump() == SHARED
    own = {"model": "cnn", "shards": 1, "optimizer_state": "fresh"}
    selection = {"grid": (), "alphas": (), "every": 0, "holdout_fraction": 0.2}
    assert StudentConfig().model_dump() == SHARED | own | {"temperature_selection": selection}


@pytest.mark.parametrize("section", [DistillationConfig, ObjectiveConfig, StudentConfig])
def test_every_key_is_described(section):
    assert all(field.description for field in section.model_fields.values())


@pytest.mark.parametrize(
    "values",
    [
        {"objective": {"loss": "cosine"}},
        {"optimizer_state": "lost"},
        {"holdout_fraction": 1.0},
        {"patience": -1},
        {"epochs": -1},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(values):
    (key,) = values
    with pytest.raises(ValidationError, match=key):
        StudentConfig(**values)
