"""Models by name, or by the import path of a user's own factory.

Guarantees of `build_model`:
    - The same name, shape, class count and seed give the same weights, bit for bit, on one torch version.
    - The global torch generators are left as they were.
    - The model maps float32 images [N, channels, H, W], or int64 tokens [N, length], to float32 logits [N, classes];
      one that does not is refused here, before any client trains it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import nn

from fedkd.errors import ModelError, nearest
from fedkd.models import resnet, small, torchvision_models, transformer
from fedkd.seeding import isolated_torch_rng
from fedkd.types import InputShape, SampleShape, TextShape, import_from_path, is_import_path

ModelFactory = Callable[[InputShape, int], nn.Module]
"""What makes a model: `(input_shape, num_classes)` to a freshly initialised module on the CPU."""

TextModelFactory = Callable[[TextShape, int], nn.Module]
"""Likewise of a model that takes tokens."""

_IMAGE_FACTORIES: Mapping[str, ModelFactory] = MappingProxyType(
    {
        "mlp": small.mlp,
        "cnn": small.cnn,
        "lenet5": small.lenet5,
        "resnet8": resnet.resnet8,
        "resnet20": resnet.resnet20,
        "resnet56": resnet.resnet56,
        "resnet8_gn": resnet.resnet8_gn,
        "resnet20_gn": resnet.resnet20_gn,
        "resnet56_gn": resnet.resnet56_gn,
        "resnet18": torchvision_models.resnet18,
        "mobilenet_v2": torchvision_models.mobilenet_v2,
        "shufflenet": torchvision_models.shufflenet,
    }
)
_TEXT_FACTORIES: Mapping[str, TextModelFactory] = MappingProxyType(
    {"transformer": transformer.transformer, "transformer_small": transformer.transformer_small}
)
_NAMES = (*_IMAGE_FACTORIES, *_TEXT_FACTORIES)
_PROBE_SAMPLES = 2  # more than one, so that a model that mixes up samples and classes shows


def available_models(input_shape: SampleShape | None = None) -> tuple[str, ...]:
    """Return the names that `build_model` knows: small models of images first, those of texts last.

    Args:
        input_shape: of one sample; only models of its kind, images or texts, are named. All where it is `None`.
    """
    if input_shape is None:
        return _NAMES
    return tuple(_TEXT_FACTORIES if isinstance(input_shape, TextShape) else _IMAGE_FACTORIES)


def check_model_name(name: str) -> None:
    """Refuse what cannot be a model's name, importing nothing.

    Args:
        name: one of `available_models()`, or an import path `package.module:factory`, judged by its form alone.

    Raises:
        ModelError: `name` is neither; the message offers the nearest known name.
    """
    if name not in _NAMES and not is_import_path(name):
        raise ModelError(
            f"model {name!r} is not known{nearest(name, _NAMES)}: "
            f"choose one of {', '.join(_NAMES)}, or give an import path 'package.module:factory'"
        )


def build_model(name: str, input_shape: SampleShape, num_classes: int, seed: int) -> nn.Module:
    """Build a model, initialise it from `seed`, and verify that it fits.

    Args:
        name: one of `available_models()`, or an import path `package.module:factory` to a `ModelFactory`.
        input_shape: channels, height, width of one image; a `TextShape` for models of tokens.
        num_classes: width of the logits, at least 2.
        seed: of the weights; the factory and lazy layers draw from it and from nothing else.

    Returns:
        The model on the CPU, each of its modules in the mode (training or not) that the factory left it in.

    Raises:
        ModelError: the name is not known, does not import or is of a model for samples of the other kind, or the model
            cannot be built or does not map two samples to float32 [2, num_classes] in evaluation mode.
    """
    check_model_name(name)
    _check_dimensions(input_shape, num_classes)
    with isolated_torch_rng(seed):  # its own block: only the first import of a module runs its code
        factory = _factory(name, input_shape)
    with isolated_torch_rng(seed):
        model = _make(name, factory, input_shape, num_classes)
        _check_fit(name, model, input_shape, num_classes)
    return model


def num_parameters(model: nn.Module) -> int:
    """Return the number of learnable scalars; buffers, such as batch norm's running statistics, do not count."""
    return sum(parameter.numel() for parameter in model.parameters())


def _check_dimensions(input_shape: SampleShape, num_classes: int) -> None:
    if isinstance(input_shape, TextShape):
        if min(input_shape) < 1:
            raise ModelError(f"input_shape = {input_shape} is not allowed: length and vocabulary are at least 1")
    elif len(input_shape) != 3 or any(side < 1 for side in input_shape):
        raise ModelError(
            f"input_shape = {tuple(input_shape)} is not allowed: give channels, height, width, each at least 1"
        )
    if num_classes < 2:
        raise ModelError(f"num_classes = {num_classes} is not allowed: give at least 2")


def _factory(name: str, input_shape: SampleShape) -> Callable[..., nn.Module]:
    """Look the factory up. Importing runs a user's code: what it raises becomes a `ModelError` with its cause."""
    fitting = available_models(input_shape)
    if name in fitting:
        return _TEXT_FACTORIES[name] if isinstance(input_shape, TextShape) else _IMAGE_FACTORIES[name]
    if name in _NAMES:
        theirs, ours = ("images", "texts") if isinstance(input_shape, TextShape) else ("texts", "images")
        raise ModelError(
            f"model {name!r} takes {theirs}, and these are {ours}: choose one of {', '.join(fitting)}, "
            "or give an import path 'package.module:factory'"
        )
    try:
        factory: Callable[..., nn.Module] = import_from_path(name, ModelError)
    except ModelError:
        raise
    except Exception as cause:
        raise ModelError(f"model {name!r} cannot be imported: {_one_line(cause)}") from cause
    if not callable(factory):
        raise ModelError(f"model {name!r} is {_a(factory)}, not a factory (input_shape, num_classes) -> nn.Module")
    return factory


def _make(name: str, factory: Callable[..., nn.Module], input_shape: SampleShape, num_classes: int) -> nn.Module:
    """Call the factory; what it raises becomes a `ModelError` with its cause."""
    try:
        model = factory(input_shape, num_classes)
    except ModelError:
        raise
    except Exception as cause:
        raise ModelError(
            f"model {name!r} cannot be built for input_shape {input_shape} and {num_classes} classes: "
            f"{_one_line(cause)}"
        ) from cause
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {name!r}: the factory returned {_a(model)}, not a torch.nn.Module")
    return model


def _check_fit(name: str, model: nn.Module, input_shape: SampleShape, num_classes: int) -> None:
    """Send a batch of zeros through the model in evaluation mode and look at what comes out."""
    try:
        output = _probe(model, input_shape)
    except Exception as cause:
        raise ModelError(
            f"model {name!r} cannot take samples of input_shape {input_shape}: {_one_line(cause)}"
        ) from cause
    expected = (_PROBE_SAMPLES, num_classes)
    if not isinstance(output, torch.Tensor):
        found = _a(output)
    elif tuple(output.shape) != expected or output.dtype != torch.float32:
        found = f"{output.dtype} of shape {tuple(output.shape)}"
    else:
        return
    raise ModelError(
        f"model {name!r} does not fit input_shape {input_shape} and {num_classes} classes: a batch of "
        f"{_PROBE_SAMPLES} samples gave {found}, not logits in torch.float32 of shape {expected}"
    )


def _probe(model: nn.Module, input_shape: SampleShape) -> object:
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            return model(_zeros(input_shape))
    finally:
        for module, training in modes:  # one by one: a factory may have frozen some of them
            module.training = training


def _zeros(input_shape: SampleShape) -> torch.Tensor:
    if isinstance(input_shape, TextShape):
        return torch.zeros(_PROBE_SAMPLES, input_shape.length, dtype=torch.int64)
    return torch.zeros(_PROBE_SAMPLES, *input_shape)


def _a(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def _one_line(cause: Exception) -> str:
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}"
