"""Residual networks for small images (He et al. 2016, "Deep residual learning", §4.2): depth 6n + 2.

A 3×3 convolution, three stages of n blocks with 16, 32 and 64 maps (each stage after the first halves height and
width), global average pooling, and one linear layer. Shortcuts are the paper's option A, as in all its CIFAR
experiments: the identity, subsampled and padded with zero maps where the width doubles, hence free of parameters.
Convolutions start from He initialisation (He et al. 2015, eq. 10), the linear layer as torch sets it.

`resnet8`, `resnet20`, `resnet56` normalise with batch norm. Their `_gn` twins use group norm (Wu & He 2018) with
8 maps a group: no running statistics to average over clients, and no sample sees another of its batch. The two
have the same number of parameters. Batch norm cannot train on a single sample of 4×4 pixels or fewer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn
from torch.nn import functional

from fedkd.errors import ModelError
from fedkd.types import InputShape

Norm = Callable[[int], nn.Module]
"""Makes the normalisation layer for a number of maps."""

_WIDTHS = (16, 32, 64)
_MAPS_PER_GROUP = 8


class CifarResNet(nn.Module):
    """Residual network: [N, channels, H, W] to logits [N, classes]. Any height and width.

    Args:
        channels: of the images.
        num_classes: width of the logits.
        depth: 6n + 2 layers with weights (8, 14, 20, …), n blocks a stage.
        norm: makes the normalisation layers (`batch_norm`, `group_norm`).

    Raises:
        ModelError: `depth` is not of the form 6n + 2 with n at least 1.
    """

    def __init__(self, channels: int, num_classes: int, depth: int, norm: Norm) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if blocks < 1 or rest:
            raise ModelError(f"depth = {depth} is not allowed: give 6n + 2 with n at least 1 (8, 14, 20, …)")
        self.stem = nn.Sequential(_conv3x3(channels, _WIDTHS[0], stride=1), norm(_WIDTHS[0]), nn.ReLU())
        self.stage1 = _stage(_WIDTHS[0], _WIDTHS[0], blocks, norm)
        self.stage2 = _stage(_WIDTHS[0], _WIDTHS[1], blocks, norm)
        self.stage3 = _stage(_WIDTHS[1], _WIDTHS[2], blocks, norm)
        self.classifier = nn.Linear(_WIDTHS[2], num_classes)

    def forward(self, images_NCHW: torch.Tensor) -> torch.Tensor:
        """Return logits [N, classes]."""
        maps_NCHW = self.stage3(self.stage2(self.stage1(self.stem(images_NCHW))))
        logits_NC: torch.Tensor = self.classifier(maps_NCHW.mean(dim=(2, 3)))
        return logits_NC


class BasicBlock(nn.Module):
    """Two normalised 3×3 convolutions beside a shortcut, ReLU after the sum (He et al. 2016, Fig. 2 and eq. 1).

    [N, in_channels, H, W] to [N, out_channels, ⌈H/s⌉, ⌈W/s⌉], where s is 1 for equal widths and 2 for a doubled one.
    """

    def __init__(self, in_channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.new_channels = out_channels - in_channels
        self.residual = nn.Sequential(
            _conv3x3(in_channels, out_channels, stride=2 if self.new_channels else 1),
            norm(out_channels),
            nn.ReLU(),
            _conv3x3(out_channels, out_channels, stride=1),
            norm(out_channels),
        )

    def forward(self, maps_NCHW: torch.Tensor) -> torch.Tensor:
        """Return the sum of residual and shortcut, rectified."""
        return torch.relu(self.residual(maps_NCHW) + self._shortcut(maps_NCHW))

    def _shortcut(self, maps_NCHW: torch.Tensor) -> torch.Tensor:
        """Option A: every second pixel, zeros for the new maps; the identity where the width stays."""
        if not self.new_channels:
            return maps_NCHW
        return functional.pad(maps_NCHW[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new_channels))


def batch_norm(maps: int) -> nn.BatchNorm2d:
    """Return batch norm (Ioffe & Szegedy 2015) for `maps` maps."""
    return nn.BatchNorm2d(maps)


def group_norm(maps: int) -> nn.GroupNorm:
    """Return group norm (Wu & He 2018) for `maps` maps, a multiple of 8, in groups of 8."""
    return nn.GroupNorm(maps // _MAPS_PER_GROUP, maps)


def _conv3x3(in_channels: int, out_channels: int, stride: int) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="relu")
    return conv


def _stage(in_channels: int, out_channels: int, blocks: int, norm: Norm) -> nn.Sequential:
    first = BasicBlock(in_channels, out_channels, norm)
    return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, norm) for _ in range(blocks - 1)))


def _build(input_shape: InputShape, num_classes: int, *, depth: int, norm: Norm) -> CifarResNet:
    return CifarResNet(input_shape[0], num_classes, depth, norm)


resnet8 = partial(_build, depth=8, norm=batch_norm)
resnet20 = partial(_build, depth=20, norm=batch_norm)
resnet56 = partial(_build, depth=56, norm=batch_norm)
resnet8_gn = partial(_build, depth=8, norm=group_norm)
resnet20_gn = partial(_build, depth=20, norm=group_norm)
resnet56_gn = partial(_build, depth=56, norm=group_norm)
