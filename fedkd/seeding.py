"""Randomness is an argument: one root seed, and a named path to every stream drawn from it.

    derive_seed(root, "client", 3, "round", 7)

Guarantees:
    - The same root and path give the same seed on every machine and Python version.
    - Streams with different paths are independent for practical purposes (SHA-256 of the path).
    - Nothing here touches the global state of `random`, NumPy or torch; `isolated_torch_rng` restores it.

Keys, nonces and masks never come from here: they come from `secrets` and `cryptography`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(root: int, *path: str | int) -> int:
    """Return a seed in [0, 2^63) for the stream named by `path` under `root`."""
    digest = hashlib.sha256(json.dumps([root, *path]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def numpy_rng(root: int, *path: str | int) -> np.random.Generator:
    """Return a NumPy generator for the stream named by `path` under `root`."""
    return np.random.default_rng(derive_seed(root, *path))


def torch_rng(root: int, *path: str | int) -> torch.Generator:
    """Return a CPU torch generator for the stream named by `path` under `root`."""
    import torch

    return torch.Generator().manual_seed(derive_seed(root, *path))


def seed_torch(seed: int) -> None:
    """Seed the global generators of torch that models draw from: the CPU's, and those of CUDA where there is a GPU.

    `torch.manual_seed` also seeds backends that are not there; each call then formats a stack for every one of them and
    keeps it, in milliseconds and memory that a loop over clients or steps feels.
    """
    import torch

    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def isolated_torch_rng(seed: int) -> Iterator[None]:
    """Run a block whose torch operations draw from `seed` (weight initialisation, dropout layers),
    and give the global generators back as they were.
    """
    import torch

    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        seed_torch(seed)
        yield
