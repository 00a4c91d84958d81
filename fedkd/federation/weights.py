"""State dicts of torch modules as NumPy arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedkd.aggregation import Weights
from fedkd.errors import PayloadError


def read_weights(model: nn.Module) -> Weights:
    """Copy a model's state dict."""
    return {key: tensor.detach().cpu().numpy().copy() for key, tensor in model.state_dict().items()}


def check_weights(weights: Weights, like: Weights) -> None:
    """Refuse weights that are not of the same architecture as `like`, or not finite.

    Raises:
        PayloadError: keys, a shape, a dtype, or a value.
    """
    if weights.keys() != like.keys():
        odd = sorted(weights.keys() ^ like.keys())[0]
        raise PayloadError("shape", f"weights have other keys than the model: {odd!r} is on one side only")
    for key, expected in like.items():
        array = weights[key]
        if array.shape != expected.shape or array.dtype != expected.dtype:
            raise PayloadError(
                "shape", f"weights {key!r} are {array.dtype}{array.shape}; {expected.dtype}{expected.shape}"
            )
        if not torch.isfinite(to_tensor(array)).all():
            raise PayloadError("not_finite", f"weights {key!r} hold NaN or infinity")


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Load weights into a model of the same architecture.

    Raises:
        PayloadError: they do not fit, or are not finite.
    """
    check_weights(weights, read_weights(model))
    model.load_state_dict({key: to_tensor(array) for key, array in weights.items()})


def to_tensor(array: npt.NDArray[Any]) -> Tensor:
    """View an array as a tensor; one that lies in shared, read-only memory is copied first."""
    return torch.from_numpy(np.require(array, requirements="W"))
