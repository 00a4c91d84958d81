"""Small models for small images: seconds on one CPU core. Weights start as torch's layers set them.

Parameters at 28×28 grey images and 10 classes: `mlp` 109,386 · `cnn` 54,314 · `lenet5` 61,706.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from fedkd.errors import ModelError
from fedkd.types import InputShape

_SMALLEST_SIDE = 4  # two 2×2 poolings leave one pixel
_LENET5_PADDED_BELOW = 32
_LENET5_SAME_BELOW = 28


def mlp(input_shape: InputShape, num_classes: int) -> nn.Sequential:
    """Fully connected, 128 and 64 hidden units with ReLU: [N, channels, H, W] to [N, classes]."""
    channels, height, width = input_shape
    features = nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * height * width, 128),
        nn.ReLU(),
        nn.Linear(128, 64),
        nn.ReLU(),
    )
    return _model(features, nn.Linear(64, num_classes))


def cnn(input_shape: InputShape, num_classes: int) -> nn.Sequential:
    """Two 5×5 convolutions (8 and 16 maps, padding 2), each with ReLU and 2×2 max pooling; 64 hidden units.

    Raises:
        ModelError: height or width is below 4.
    """
    channels, height, width = _poolable("cnn", input_shape)
    features = nn.Sequential(
        nn.Conv2d(channels, 8, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, kernel_size=5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
    classifier = nn.Sequential(
        nn.Linear(16 * (height // 4) * (width // 4), 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )
    return _model(features, classifier)


def lenet5(input_shape: InputShape, num_classes: int) -> nn.Sequential:
    """LeNet-5 (LeCun et al. 1998, §II.B, Fig. 2): tanh, average pooling, layers of 6, 16, 120 and 84 units.

    As is usual today, pooling has no weights, C3 sees all six maps, and the output layer is linear.
    The paper centres 28×28 digits in 32×32; so C1 pads by 2 where the shorter side is below 32. Where it is
    below 28, C3 pads by 2 as well, which lets images down to 4×4 through. C5 spans whatever S4 leaves
    (5×5 at 28 and at 32), so its weights grow with the image.

    Raises:
        ModelError: height or width is below 4.
    """
    channels, height, width = _poolable("lenet5", input_shape)
    shorter = min(height, width)
    pad1 = 2 if shorter < _LENET5_PADDED_BELOW else 0
    pad3 = 2 if shorter < _LENET5_SAME_BELOW else 0
    rows, columns = (((side - 4 + 2 * pad1) // 2 - 4 + 2 * pad3) // 2 for side in (height, width))
    features = nn.Sequential(
        nn.Conv2d(channels, 6, kernel_size=5, padding=pad1),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Conv2d(6, 16, kernel_size=5, padding=pad3),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
    )
    classifier = nn.Sequential(
        nn.Linear(16 * rows * columns, 120),
        nn.Tanh(),
        nn.Linear(120, 84),
        nn.Tanh(),
        nn.Linear(84, num_classes),
    )
    return _model(features, classifier)


def _model(features: nn.Module, classifier: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(features=features, classifier=classifier))


def _poolable(name: str, input_shape: InputShape) -> InputShape:
    """Return `input_shape` if two 2×2 poolings leave at least one pixel of it."""
    _, height, width = input_shape
    if min(height, width) < _SMALLEST_SIDE:
        raise ModelError(
            f"model {name!r} does not fit input_shape {input_shape}: height and width must be at least {_SMALLEST_SIDE}"
        )
    return input_shape
