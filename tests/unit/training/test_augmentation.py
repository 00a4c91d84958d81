"""Augmentations of images against a loop over pixels, and what is refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from fedkd.errors import ConfigError, DataError
from fedkd.parts import PartConfig
from fedkd.seeding import torch_rng
from fedkd.training.augmentation import chain, crop, flip
from fedkd.training.config import TrainingConfig
from fedkd.training.loop import train_supervised

IMAGES_NCHW = torch.rand(40, 3, 5, 6, generator=torch_rng(0, "images"))


def part(value: object) -> PartConfig:
    return PartConfig.model_validate(value)


def moved(image_CHW: Tensor, down: int, right: int) -> Tensor:
    """The image moved by so many pixels, black (-1) where nothing was, pixel by pixel."""
    result = torch.full_like(image_CHW, -1.0)
    _, height, width = image_CHW.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                result[:, y, x] = image_CHW[:, y - down, x - right]
    return result


def test_crop_moves_each_image_by_up_to_the_padding() -> None:
    """Each result is one of the 25 ways to move its image by up to 2 pixels, and over 40 images most of them occur."""
    cropped_NCHW = crop(IMAGES_NCHW, torch_rng(1), padding=2)
    found = []
    for image_CHW, result_CHW in zip(IMAGES_NCHW, cropped_NCHW, strict=True):
        ways = [(d, r) for d in range(-2, 3) for r in range(-2, 3) if torch.equal(result_CHW, moved(image_CHW, d, r))]
        assert len(ways) == 1
        found += ways
    assert len(set(found)) > 12
    assert {d for d, _ in found} == {r for _, r in found} == {-2, -1, 0, 1, 2}


def test_flip_mirrors_about_its_share_of_the_images() -> None:
    """Each image is itself or read from right to left; of 4,000 a quarter within four standard deviations."""
    images_NCHW = IMAGES_NCHW.repeat(100, 1, 1, 1)
    flipped_NCHW = flip(images_NCHW, torch_rng(1), probability=0.25)
    mirrored_NCHW = torch.stack([images_NCHW[..., x] for x in range(5, -1, -1)], dim=-1)
    is_mirror_N = (flipped_NCHW == mirrored_NCHW).flatten(1).all(1)
    assert torch.equal(flipped_NCHW[~is_mirror_N], images_NCHW[~is_mirror_N])
    assert abs(int(is_mirror_N.sum()) - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5
    assert torch.equal(flip(IMAGES_NCHW, torch_rng(1), probability=0.0), IMAGES_NCHW)


@pytest.mark.parametrize("augmentation", [crop, flip])
def test_the_generator_alone_decides(augmentation) -> None:
    first = augmentation(IMAGES_NCHW, torch_rng(3))
    torch.manual_seed(0)
    assert torch.equal(first, augmentation(IMAGES_NCHW, torch_rng(3)))
    assert not torch.equal(first, augmentation(IMAGES_NCHW, torch_rng(4)))


def brighter(inputs: Tensor, rng: torch.Generator, amount: float = 1.0) -> Tensor:
    return inputs + amount


def doubled(inputs: Tensor, rng: torch.Generator) -> Tensor:
    return 2 * inputs


def longer(inputs: Tensor, rng: torch.Generator) -> Tensor:
    return torch.cat([inputs, inputs])


def nothing(inputs: Tensor, rng: torch.Generator) -> None:
    return None


def test_augmentations_are_applied_in_their_order() -> None:
    """(x + 3)·2, not x·2 + 3."""
    parts = [part({"name": f"{__name__}:brighter", "amount": 3.0}), part(f"{__name__}:doubled")]
    torch.testing.assert_close(chain(parts, torch_rng(0))(IMAGES_NCHW), 2 * IMAGES_NCHW + 6)
    assert chain([], torch_rng(0))(IMAGES_NCHW) is IMAGES_NCHW


@pytest.mark.parametrize("name", ["longer", "nothing"])
def test_another_shape_is_refused(name) -> None:
    with pytest.raises(ConfigError, match=r"augmentation = .*float32 \[40, 3, 5, 6\] on cpu as it is given; this"):
        chain([part(f"{__name__}:{name}")], torch_rng(0))(IMAGES_NCHW)


@pytest.mark.parametrize("augmentation", [crop, flip])
def test_texts_are_refused(augmentation) -> None:
    with pytest.raises(DataError, match=r"is for images, float \[N, C, H, W\]; these inputs are int64 \[2, 5\]"):
        augmentation(torch.zeros(2, 5, dtype=torch.int64), torch_rng(0))


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ("crops", "did you mean 'crop'"),
        ({"name": "crop", "padding": 0}, "padding = 0"),
        ({"name": "flip", "probability": 1.5}, "probability = 1.5"),
        ({"name": "flip", "p": 0.5}, "p = 0.5: not an argument"),
        ("math:floor", "called with 2 values"),
    ],
    ids=str,
)
def test_what_is_no_augmentation_is_refused_with_the_section(value, match) -> None:
    with pytest.raises(ValidationError, match=match):
        TrainingConfig.model_validate({"augmentation": [value]})


class Seen(torch.nn.Module):
    """Remembers what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(16, 3)
        self.batches: list[Tensor] = []

    def forward(self, images_NCHW: Tensor) -> Tensor:
        self.batches.append(images_NCHW)
        return self.layer(images_NCHW.flatten(1))


def seen_by_the_model(problem, seed: int, augmentation: list[object]) -> Tensor:
    model = Seen()
    config = TrainingConfig.model_validate({"epochs": 2, "batch_size": 21, "augmentation": augmentation})
    train_supervised(model, *problem, config, num_classes=3, seed=seed)
    return torch.stack(model.batches)


def test_training_sees_augmented_samples_which_the_seed_decides(problem) -> None:
    plain = seen_by_the_model(problem, 0, [])
    flipped = seen_by_the_model(problem, 0, ["flip"])
    changed = (flipped != plain).flatten(2).any(2)  # the order of the samples is the same
    assert torch.equal(flipped[changed], plain[changed].flip(3))
    assert 0 < changed.sum() < changed.numel()
    assert torch.equal(flipped, seen_by_the_model(problem, 0, ["flip"]))
    assert not torch.equal(flipped, seen_by_the_model(problem, 1, ["flip"]))
