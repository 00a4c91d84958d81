from __future__ import annotations

import pytest
from pydantic import ValidationError

from fedkd.distillation import DistillationConfig, StudentConfig

SHARED = {
    "epochs": 5,
    "batch_size": 64,
    "optimizer": "adam",
    "learning_rate": 0.001,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "max_grad_norm": 0.0,
    "loss": "kl",
}


def test_defaults():
    assert DistillationConfig().model_dump() == SHARED
    own = {"model": "cnn", "shards": 1, "optimizer_state": "fresh", "holdout_fraction": 0.0, "patience": 0, "terms": ()}
    selection = {"grid": (), "alphas": (), "every": 0, "holdout_fraction": 0.2}
    assert StudentConfig().model_dump() == SHARED | own | {"temperature_selection": selection}


@pytest.mark.parametrize("section", [DistillationConfig, StudentConfig])
def test_every_key_is_described(section):
    assert all(field.description for field in section.model_fields.values())


@pytest.mark.parametrize(
    "values",
    [{"loss": "cosine"}, {"optimizer_state": "lost"}, {"holdout_fraction": 1.0}, {"patience": -1}, {"epochs": -1}],
    ids=str,
)
def test_values_out_of_range_are_refused(values):
    (key,) = values
    with pytest.raises(ValidationError, match=key):
        StudentConfig(**values)
