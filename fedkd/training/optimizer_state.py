"""What an optimiser remembers (momentum, moments, step counts) as NumPy arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

OptimizerArrays = dict[str, npt.NDArray[Any]]
"""`"<number of the parameter>/<name of the quantity>"` -> its values; empty for an optimiser that has not stepped."""


def read_optimizer(optimizer: torch.optim.Optimizer) -> OptimizerArrays:
    """Copy what the optimiser remembers of every parameter."""
    return {
        f"{number}/{name}": torch.as_tensor(value).detach().cpu().numpy().copy()
        for number, quantities in optimizer.state_dict()["state"].items()
        for name, value in quantities.items()
        if value is not None
    }


def load_optimizer(optimizer: torch.optim.Optimizer, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Let a new optimiser over the same parameters go on where another was."""
    quantities: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        number, _, name = key.partition("/")
        quantities.setdefault(int(number), {})[name] = torch.from_numpy(np.array(array))
    optimizer.load_state_dict({**optimizer.state_dict(), "state": quantities})
