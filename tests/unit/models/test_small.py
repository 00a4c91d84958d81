from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from fedkd.errors import ModelError
from fedkd.models.registry import build_model, num_parameters
from fedkd.models.small import cnn, lenet5, mlp
from fedkd.seeding import torch_rng

small_models = pytest.mark.parametrize("factory", [mlp, cnn, lenet5], ids=lambda factory: factory.__name__)


@pytest.mark.parametrize(
    ("factory", "by_hand", "total"),
    [
        (mlp, [(784 + 1) * 128, (128 + 1) * 64, (64 + 1) * 10], 109_386),
        (cnn, [(25 + 1) * 8, (8 * 25 + 1) * 16, (16 * 7 * 7 + 1) * 64, (64 + 1) * 10], 54_314),
        # LeCun et al. 1998, §II.B gives 156 for C1, 48,120 for C5 and 10,164 for F6; C3 here sees all six maps.
        (lenet5, [156, (6 * 25 + 1) * 16, 48_120, 10_164, (84 + 1) * 10], 61_706),
    ],
)
def test_parameters_at_mnist_size_are_those_counted_by_hand(
    factory: Callable[..., nn.Module], by_hand: list[int], total: int
) -> None:
    model = factory((1, 28, 28), 10)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert [num_parameters(layer) for layer in layers] == by_hand
    assert num_parameters(model) == total


@small_models
@settings(max_examples=20, deadline=None)
@given(channels=st.integers(1, 4), height=st.integers(4, 70), width=st.integers(4, 70), num_classes=st.integers(2, 12))
def test_any_image_of_at_least_four_pixels_a_side_fits(
    factory: Callable[..., nn.Module], channels: int, height: int, width: int, num_classes: int
) -> None:
    build_model(factory.__name__, (channels, height, width), num_classes, seed=0)


@pytest.mark.parametrize("name", ["cnn", "lenet5"])
@pytest.mark.parametrize("input_shape", [(1, 3, 8), (1, 8, 3), (3, 1, 1)])
def test_smaller_images_are_refused(name: str, input_shape: tuple[int, int, int]) -> None:
    with pytest.raises(ModelError, match=f"'{name}' does not fit input_shape .* must be at least 4"):
        build_model(name, input_shape, 10, seed=0)


def test_lenet5_sees_a_digit_as_the_paper_centres_it() -> None:
    at_28, at_32 = lenet5((1, 28, 28), 10), lenet5((1, 32, 32), 10)
    at_32.load_state_dict(at_28.state_dict())
    images = torch.rand(3, 1, 28, 28, generator=torch_rng(0))
    torch.testing.assert_close(at_28(images), at_32(functional.pad(images, (2, 2, 2, 2))))


@pytest.mark.parametrize(("side", "left"), [(4, 1), (8, 2), (27, 6), (28, 5), (31, 5), (32, 5), (64, 13)])
def test_lenet5_pads_small_images_alone(side: int, left: int) -> None:
    c5 = next(module for module in lenet5((1, side, side), 10).modules() if isinstance(module, nn.Linear))
    assert c5.in_features == 16 * left**2


@small_models
@pytest.mark.parametrize("side", [8, 28, 32, 64])
def test_every_pixel_matters(factory: Callable[..., nn.Module], side: int) -> None:
    model = build_model(factory.__name__, (1, side, side), 10, seed=0).double()
    touched = torch.zeros(side, side, dtype=torch.bool)
    for seed in range(8):  # a ReLU or a maximum may hide a pixel of one image
        image = torch.rand(1, 1, side, side, generator=torch_rng(seed), dtype=torch.float64, requires_grad=True)
        model(image).square().sum().backward()
        assert image.grad is not None
        touched |= image.grad[0, 0] != 0
    assert touched.all()
