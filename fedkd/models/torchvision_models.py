"""torchvision's classifiers, untrained, for any number of channels and for small images.

Their first layers were made for 224×224: they quarter (mobilenet_v2: halve) height and width before the first
block. Where no side of the image exceeds 64, the first convolution is 3×3 with stride 1 and the max pooling that
follows it is left out; larger images meet the published network. The first convolution starts from He
initialisation (He et al. 2015, eq. 14), everything else as torchvision sets it. Nothing is downloaded.

All three use batch norm: in training mode a batch must hold more than one sample where the image is so small that
the last maps have a single pixel (8×8 and smaller for `resnet18` and `shufflenet`, 16×16 for `mobilenet_v2`).
"""

from __future__ import annotations

from torch import nn

from fedkd.types import InputShape

_LARGEST_SMALL_SIDE = 64


def resnet18(input_shape: InputShape, num_classes: int) -> nn.Module:
    """ResNet-18 (He et al. 2016, Table 1): [N, channels, H, W] to logits [N, classes]."""
    from torchvision import models

    model: nn.Module = models.resnet18(weights=None, num_classes=num_classes)
    model.set_submodule("conv1", _first_conv(input_shape, maps=64, kernel_size=7))
    _drop_pooling_if_small(model, input_shape)
    return model


def mobilenet_v2(input_shape: InputShape, num_classes: int) -> nn.Module:
    """MobileNetV2 (Sandler et al. 2018, Table 2), width 1.0, dropout 0.2: [N, channels, H, W] to [N, classes]."""
    from torchvision import models

    model: nn.Module = models.mobilenet_v2(weights=None, num_classes=num_classes)
    model.set_submodule("features.0.0", _first_conv(input_shape, maps=32, kernel_size=3))
    return model


def shufflenet(input_shape: InputShape, num_classes: int) -> nn.Module:
    """ShuffleNetV2 (Ma et al. 2018, Table 5), width 1.0: [N, channels, H, W] to [N, classes]."""
    from torchvision import models

    model: nn.Module = models.shufflenet_v2_x1_0(weights=None, num_classes=num_classes)
    model.set_submodule("conv1.0", _first_conv(input_shape, maps=24, kernel_size=3))
    _drop_pooling_if_small(model, input_shape)
    return model


def _is_small(input_shape: InputShape) -> bool:
    _, height, width = input_shape
    return max(height, width) <= _LARGEST_SMALL_SIDE


def _first_conv(input_shape: InputShape, maps: int, kernel_size: int) -> nn.Conv2d:
    """Return 3×3 with stride 1 for small images, else `kernel_size` with stride 2; both padded to keep the borders."""
    side, stride = (3, 1) if _is_small(input_shape) else (kernel_size, 2)
    conv = nn.Conv2d(input_shape[0], maps, kernel_size=side, stride=stride, padding=side // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _drop_pooling_if_small(model: nn.Module, input_shape: InputShape) -> None:
    if _is_small(input_shape):
        model.set_submodule("maxpool", nn.Identity())
