"""In which precision a loss is computed."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Make float16 and bfloat16 float32, in which sums and exponentials are taken; leave all else as it is."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
