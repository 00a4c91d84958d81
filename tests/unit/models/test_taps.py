"""Taps read what a model computes on the way, and leave no trace."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fedkd.errors import ModelError
from fedkd.models.registry import build_model
from fedkd.models.taps import FeatureTaps
from fedkd.training.evaluation import predict_logits


@pytest.fixture
def cnn() -> nn.Module:
    return build_model("cnn", (1, 8, 8), 10, seed=0)


def test_features_are_what_the_parts_of_the_model_compute(cnn):
    images_NCHW = torch.randn(3, 1, 8, 8)
    with FeatureTaps(cnn, ["features.1", "features", ""]) as taps:
        logits_NC = cnn(images_NCHW)
        features = taps.features
    assert torch.equal(features["features.1"], cnn.features[:2](images_NCHW))
    assert torch.equal(features["features"], cnn.features(images_NCHW))
    assert torch.equal(features[""], logits_NC)


def test_a_loss_on_features_reaches_the_model_and_only_what_lies_before(cnn):
    with FeatureTaps(cnn, ["features"]) as taps:
        cnn(torch.randn(2, 1, 8, 8))
        taps.features["features"].square().sum().backward()
    assert all(parameter.grad is not None for parameter in cnn.features.parameters())
    assert all(parameter.grad is None for parameter in cnn.classifier.parameters())


def test_the_latest_call_counts(cnn):
    with FeatureTaps(cnn, ["features"]) as taps:
        cnn(torch.zeros(2, 1, 8, 8))
        cnn(torch.zeros(5, 1, 8, 8))
        assert len(taps.features["features"]) == 5


def test_closed_taps_leave_the_model_as_it_was(cnn):
    with FeatureTaps(cnn, ["features", "classifier.0"]) as taps:
        cnn(torch.zeros(1, 1, 8, 8))
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in cnn.modules())
    with pytest.raises(ModelError, match="have no output"):
        taps.features["features"]


def test_without_names_nothing_is_hooked(cnn):
    with FeatureTaps(cnn, []) as taps:
        assert all(not module._forward_hooks and not module._forward_pre_hooks for module in cnn.modules())
        assert taps.features == {}


def test_an_unknown_module_is_answered_with_the_nearest(cnn):
    with pytest.raises(ModelError, match=r"no module 'feature' \(did you mean 'features'\?\): it has features, "):
        FeatureTaps(cnn, ["feature"])


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("first", [nn.Linear(3, 3), nn.BatchNorm1d(3)])
def test_an_output_that_the_next_module_overwrites_is_refused(first, grad):
    model = nn.Sequential(first, nn.ReLU(inplace=True), nn.Linear(3, 2))
    with FeatureTaps(model, ["0"]) as taps, torch.set_grad_enabled(grad):
        model(torch.randn(4, 3))
        with pytest.raises(ModelError, match="output of module '0' was changed in place after it was returned: tap"):
            taps.features["0"]
    with FeatureTaps(model, ["1"]) as taps, torch.set_grad_enabled(grad):
        model(torch.randn(4, 3))
        assert (taps.features["1"] >= 0).all()


def test_a_model_predicts_while_it_is_tapped(cnn):
    images_NCHW = torch.randn(3, 1, 8, 8)
    with FeatureTaps(cnn, [""]) as taps:
        logits_NC = predict_logits(cnn, images_NCHW)
        assert taps.features[""].numpy().tobytes() == logits_NC.tobytes()


class Odd(nn.Module):
    """Calls one module twice, another not at all, and has one that returns two tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.twice, self.never, self.pair = nn.Linear(2, 2), nn.Linear(2, 2), nn.LSTM(2, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.pair(self.twice(self.twice(inputs)))[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("twice", r"module 'twice' \(Linear\) is called twice"),
        ("never", r"modules \['never'\] have no output"),
        ("pair", "module 'pair' returns a tuple"),
    ],
)
def test_what_has_no_single_output_is_refused(name, message):
    model = Odd()

    def tapped() -> torch.Tensor:
        with FeatureTaps(model, [name]) as taps:
            model(torch.zeros(1, 2))
            return taps.features[name]

    with pytest.raises(ModelError, match=message):
        tapped()
