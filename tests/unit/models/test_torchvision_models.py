from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

import fedkd.models
from fedkd.models.registry import build_model, num_parameters
from fedkd.models.torchvision_models import mobilenet_v2, resnet18, shufflenet
from fedkd.seeding import torch_rng
from fedkd.types import InputShape

FIRST_CONV = {"resnet18": "conv1", "mobilenet_v2": "features.0.0", "shufflenet": "conv1.0"}
LAST_MAPS = {"resnet18": "layer4", "mobilenet_v2": "features", "shufflenet": "conv5"}
PUBLISHED = {"resnet18": "resnet18", "mobilenet_v2": "mobilenet_v2", "shufflenet": "shufflenet_v2_x1_0"}

adapted = pytest.mark.parametrize("factory", [resnet18, mobilenet_v2, shufflenet], ids=lambda factory: factory.__name__)
Factory = Callable[[InputShape, int], nn.Module]


def _last_maps(name: str, model: nn.Module, input_shape: InputShape) -> tuple[int, ...]:
    shapes: list[tuple[int, ...]] = []
    last = model.get_submodule(LAST_MAPS[name])
    last.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[2:])))
    with torch.no_grad():
        model.eval()(torch.zeros(1, *input_shape))
    return shapes[0]


@adapted
def test_parameters_are_those_that_torchvision_publishes(factory: Factory) -> None:
    from torchvision.models import get_model_weights

    published = get_model_weights(PUBLISHED[factory.__name__])["IMAGENET1K_V1"].meta["num_params"]
    assert num_parameters(factory((3, 224, 224), 1000)) == published


@adapted
def test_large_images_meet_the_published_network(factory: Factory) -> None:
    from torchvision.models import get_model

    published = get_model(PUBLISHED[factory.__name__], weights=None, num_classes=4).eval()
    ours = factory((3, 65, 96), 4).eval()
    ours.load_state_dict(published.state_dict())
    images = torch.rand(2, 3, 65, 96, generator=torch_rng(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), published(images))


@pytest.mark.parametrize(("name", "maps"), [("resnet18", (4, 4)), ("mobilenet_v2", (2, 2)), ("shufflenet", (4, 4))])
def test_small_images_are_not_shrunk_before_the_first_block(name: str, maps: tuple[int, int]) -> None:
    model = build_model(name, (3, 32, 32), 10, seed=0)
    assert _last_maps(name, model, (3, 32, 32)) == maps


@adapted
@pytest.mark.parametrize(("size", "stride"), [((64, 64), (1, 1)), ((65, 64), (2, 2)), ((8, 65), (2, 2))])
def test_an_image_is_small_up_to_64_pixels_a_side(
    factory: Factory, size: tuple[int, int], stride: tuple[int, int]
) -> None:
    first = factory((3, *size), 10).get_submodule(FIRST_CONV[factory.__name__])
    assert isinstance(first, nn.Conv2d)
    assert first.stride == stride


@adapted
def test_the_first_convolution_starts_as_torchvision_starts_the_others(factory: Factory) -> None:
    """He et al. 2015, eq. 14: standard deviation √(2 / fan-out)."""
    name = factory.__name__
    first = build_model(name, (4, 32, 32), 10, seed=0).get_submodule(FIRST_CONV[name])
    assert isinstance(first, nn.Conv2d)
    assert first.weight.shape[1] == 4
    assert first.weight.std().item() == pytest.approx((2 / (9 * first.out_channels)) ** 0.5, rel=0.1)


@pytest.mark.parametrize("file", sorted(Path(fedkd.models.__file__).parent.glob("*.py")), ids=lambda file: file.stem)
def test_no_file_of_the_room_needs_torchvision_to_be_imported(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ImportError):
        import torchvision  # noqa: F401
    runpy.run_path(str(file))
