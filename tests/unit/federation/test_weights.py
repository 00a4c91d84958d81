"""State dicts as arrays, and back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fedkd.errors import PayloadError
from fedkd.federation.weights import check_weights, load_weights, read_weights
from fedkd.models.registry import build_model


@pytest.mark.parametrize("name", ["mlp", "resnet8"])
def test_a_model_survives_the_way_through_arrays(name: str) -> None:
    source, target = (build_model(name, (1, 8, 8), 10, seed) for seed in (0, 1))
    load_weights(target, read_weights(source))
    for key, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], tensor)


def test_read_weights_are_a_copy() -> None:
    model = build_model("mlp", (1, 8, 8), 10, 0)
    weights = read_weights(model)
    next(iter(weights.values()))[...] = 7
    assert not any((tensor == 7).all() for tensor in model.state_dict().values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {key: value for key, value in w.items() if key != "b"}, "'b' is on one side only"),
        (lambda w: w | {"c": w["a"]}, "'c' is on one side only"),
        (lambda w: w | {"a": w["a"][:1]}, r"'a' are float32\(1,\); float32\(2,\)"),
        (lambda w: w | {"a": w["a"].astype(np.float64)}, "float64"),
        (lambda w: w | {"a": np.array([np.nan, 1], np.float32)}, "NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message: str) -> None:
    like = {"a": np.zeros(2, np.float32), "b": np.array(1)}
    with pytest.raises(PayloadError, match=message):
        check_weights(change(like), like)
