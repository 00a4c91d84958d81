"""Augmentations of the private samples that a client trains on, drawn anew for each batch.

The public samples that clients and teachers answer are never augmented.

Shape legend: N samples · C channels · H height · W width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from fedkd.errors import ConfigError, DataError
from fedkd.parts import PartConfig, bind_part, checked_by_binding

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
"""(inputs [N, ...], a generator on the CPU) -> inputs of the same shape and type."""

BLACK = -1.0
"""The value of a black pixel, as models see it."""


def crop(inputs_NCHW: Tensor, rng: torch.Generator, *, padding: Annotated[int, Field(ge=1)] = 4) -> Tensor:
    """Surround each image by `padding` black pixels, and cut a window of the old size out at a random place
    (He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2).

    Raises:
        DataError: the inputs are not images.
    """
    _check_images(inputs_NCHW, "crop")
    num, _, height, width = inputs_NCHW.shape
    top_N, left_N = torch.randint(2 * padding + 1, (2, num), generator=rng).to(inputs_NCHW.device)
    rows_NH = top_N[:, None] + torch.arange(height, device=inputs_NCHW.device)
    columns_NW = left_N[:, None] + torch.arange(width, device=inputs_NCHW.device)
    padded_NCHW = functional.pad(inputs_NCHW, [padding] * 4, value=BLACK)
    samples_N = torch.arange(num, device=inputs_NCHW.device)
    windows_NHWC = padded_NCHW[samples_N[:, None, None], :, rows_NH[:, :, None], columns_NW[:, None, :]]
    return windows_NHWC.permute(0, 3, 1, 2)


def flip(
    inputs_NCHW: Tensor, rng: torch.Generator, *, probability: Annotated[float, Field(ge=0, le=1)] = 0.5
) -> Tensor:
    """Mirror each image left to right with this probability.

    Raises:
        DataError: the inputs are not images.
    """
    _check_images(inputs_NCHW, "flip")
    flipped_N = (torch.rand(len(inputs_NCHW), generator=rng) < probability).to(inputs_NCHW.device)
    return torch.where(flipped_N[:, None, None, None], inputs_NCHW.flip(3), inputs_NCHW)


AUGMENTATIONS: Mapping[str, Callable[..., Tensor]] = MappingProxyType({"crop": crop, "flip": flip})
"""All of them are for images."""


def bind_augmentation(part: PartConfig, key: str) -> Augmentation:
    """Return the augmentation that a configuration names.

    Raises:
        ConfigError: no such augmentation, or an argument that it does not take.
    """
    return bind_part(part, AUGMENTATIONS, key, positional=2)


AugmentationPart = Annotated[PartConfig, checked_by_binding(bind_augmentation)]


def chain(parts: Sequence[PartConfig], rng: torch.Generator) -> Callable[[Tensor], Tensor]:
    """Return one function that applies augmentations in their order; without any it returns its inputs.

    Raises:
        ConfigError: what it returns raises one where an augmentation changes the shape or type of the inputs.
    """
    augmentations = [bind_augmentation(part, "augmentation") for part in parts]

    def augment(inputs: Tensor) -> Tensor:
        for part, augmentation in zip(parts, augmentations, strict=True):
            augmented = augmentation(inputs, rng)
            if _described(augmented) != _described(inputs):
                allowed = f"{_described(inputs)} as it is given; this returns {_described(augmented)}"
                raise ConfigError("augmentation", part.name, allowed)
            inputs = augmented
        return inputs

    return augment


def _described(inputs: object) -> str:
    if not isinstance(inputs, Tensor):
        return f"a {type(inputs).__name__}"
    return f"{str(inputs.dtype).removeprefix('torch.')} {list(inputs.shape)} on {inputs.device.type}"


def _check_images(inputs: Tensor, name: str) -> None:
    if inputs.dim() != 4 or not inputs.is_floating_point():
        raise DataError(
            f"augmentation {name!r} is for images, float [N, C, H, W]; these inputs are {_described(inputs)}"
        )
