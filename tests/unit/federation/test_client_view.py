"""What an upload sees of a client's model and data: arrays, also of no sample at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fedkd.config.experiment import ExperimentConfig
from fedkd.federation.client_view import ModelView
from fedkd.federation.workspace import open_workspace
from fedkd.methods.uploads import Prototypes

Make = Callable[..., ExperimentConfig]
PIXELS = 8 * 8


@pytest.fixture
def view(make_config: Make) -> ModelView:
    """Client 1 of four on digits, whose model is one that nobody has trained."""
    workspace = open_workspace(make_config())
    return ModelView(workspace.build_model("mlp", 0), workspace, 1)


def last_layer(view: ModelView) -> str:
    return [name for name, module in view.model.named_modules() if isinstance(module, torch.nn.Linear)][-1]


@pytest.mark.parametrize("asked", [[], [3], [0, 5, 23]], ids=len)
def test_public_samples_are_seen_as_rows(view: ModelView, asked: list[int]) -> None:
    """The output of the last layer is the logits."""
    asked_N = np.array(asked, np.int64)
    logits_NC, features_NF = view.public_logits(asked_N), view.public_features(asked_N, last_layer(view))
    assert logits_NC.shape == (len(asked), 10)
    np.testing.assert_allclose(features_NF, logits_NC, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(
        view.public_inputs(asked_N), view.workspace.public_inputs[asked_N].reshape(len(asked), PIXELS).numpy()
    )


def test_prototypes_are_the_mean_features_of_the_private_samples_of_a_class(view: ModelView) -> None:
    rows, _ = Prototypes(last_layer(view), 10).make(view, np.arange(10), {})
    logits_MC, labels_M = view.private_logits()
    assert rows.keys_N.tolist() == sorted(set(labels_M.tolist()))
    for key, values_D in zip(rows.keys_N, rows.values_ND, strict=True):
        np.testing.assert_allclose(values_D, logits_MC[labels_M == key].mean(axis=0), rtol=1e-4, atol=1e-5)
