"""What every registered model keeps: shapes, determinism, isolation, learning, and a state that travels as NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from fedkd.models.registry import available_models, build_model
from fedkd.seeding import isolated_torch_rng, torch_rng
from fedkd.types import InputShape, SampleShape, TextShape

NUM_CLASSES = 5
SHAPES: tuple[InputShape, ...] = ((1, 32, 32), (3, 32, 32), (1, 28, 28))
TINY_MODELS = ("mlp", "cnn", "lenet5", "resnet8", "resnet8_gn")

TEXT_SHAPE = TextShape(length=12, vocabulary=40)

every_model = pytest.mark.parametrize("name", available_models())


def _shape(name: str) -> SampleShape:
    return TEXT_SHAPE if name in available_models(TEXT_SHAPE) else SHAPES[0]


def _samples(count: int, input_shape: SampleShape, seed: int = 0) -> torch.Tensor:
    rng = torch_rng(seed, "samples")
    if isinstance(input_shape, TextShape):
        return torch.randint(input_shape.vocabulary, (count, input_shape.length), generator=rng)
    return torch.rand(count, *input_shape, generator=rng)


def _same_bits(first: nn.Module, second: nn.Module) -> bool:
    left, right = first.state_dict(), second.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def _training_loss(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    with isolated_torch_rng(0):  # the same dropout masks each time
        return functional.cross_entropy(model(images), labels)


@pytest.mark.parametrize(
    ("name", "input_shape"),
    [
        *((name, shape) for name in available_models(SHAPES[0]) for shape in SHAPES),
        *((name, TEXT_SHAPE) for name in available_models(TEXT_SHAPE)),
    ],
    ids=str,
)
def test_samples_become_finite_float32_logits(name: str, input_shape: SampleShape) -> None:
    model = build_model(name, input_shape, NUM_CLASSES, seed=0)
    for logits_NC in (model(_samples(3, input_shape)), model.eval()(_samples(3, input_shape))):
        assert logits_NC.shape == (3, NUM_CLASSES)
        assert logits_NC.dtype == torch.float32
        assert torch.isfinite(logits_NC).all()


@pytest.mark.parametrize("name", TINY_MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_tiny_images_are_enough_for_small_models(name: str, channels: int) -> None:
    model = build_model(name, (channels, 8, 8), NUM_CLASSES, seed=0)
    logits_NC = model(_samples(4, (channels, 8, 8)))
    assert logits_NC.shape == (4, NUM_CLASSES)
    assert logits_NC.std(dim=0).min() > 0, "the images no longer matter"


@every_model
def test_same_seed_gives_the_same_bits_and_another_seed_others(name: str) -> None:
    first, again, other = (build_model(name, _shape(name), NUM_CLASSES, seed) for seed in (7, 7, 8))
    assert _same_bits(first, again)
    assert not _same_bits(first, other)


@every_model
def test_the_global_generator_is_neither_read_nor_moved(name: str) -> None:
    before = torch.get_rng_state()
    try:
        torch.manual_seed(1)
        first, state = build_model(name, _shape(name), NUM_CLASSES, seed=0), torch.get_rng_state()
        assert torch.equal(state, torch.Generator().manual_seed(1).get_state())
        torch.manual_seed(2)
        assert _same_bits(first, build_model(name, _shape(name), NUM_CLASSES, seed=0))
    finally:
        torch.set_rng_state(before)


@every_model
def test_a_new_model_is_in_training_mode_on_the_cpu(name: str) -> None:
    model = build_model(name, _shape(name), NUM_CLASSES, seed=0)
    assert all(module.training for module in model.modules())
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


@every_model
def test_one_step_of_gradient_descent_lowers_the_loss(name: str) -> None:
    model = build_model(name, _shape(name), NUM_CLASSES, seed=0)
    images, labels = _samples(4, _shape(name)), torch.tensor([0, 1, 2, 3])
    before = _training_loss(model, images, labels)
    before.backward()  # type: ignore[no-untyped-call]
    assert all(parameter.grad is not None for parameter in model.parameters()), "a parameter takes no part"
    torch.optim.SGD(model.parameters(), lr=0.01).step()
    assert _training_loss(model, images, labels) < before


@every_model
def test_the_state_travels_through_numpy(name: str) -> None:
    source, target = (build_model(name, _shape(name), NUM_CLASSES, seed) for seed in (0, 1))
    source(_samples(2, _shape(name)))  # moves the running statistics, where there are any
    arrays = {key: np.array(tensor.numpy()) for key, tensor in source.state_dict().items()}
    target.load_state_dict({key: torch.from_numpy(array) for key, array in arrays.items()})
    assert _same_bits(source, target)
    images = _samples(2, _shape(name), seed=1)
    assert torch.equal(source.eval()(images), target.eval()(images))


@every_model
def test_in_evaluation_mode_a_sample_does_not_see_its_batch(name: str) -> None:
    model = build_model(name, _shape(name), NUM_CLASSES, seed=0).eval()
    images = _samples(3, _shape(name))
    with torch.no_grad():
        torch.testing.assert_close(model(images)[:1], model(images[:1]), rtol=1e-4, atol=1e-5)
