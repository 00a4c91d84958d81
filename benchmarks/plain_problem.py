"""What the plain loop works on: the numbers of an experiment and its tensors. Shapes: N samples, C classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedkd.data.federated import FederatedData
from fedkd.data.images import to_float
from fedkd.models.registry import build_model
from fedkd.seeding import derive_seed
from fedkd.types import ByteArray


@dataclass(frozen=True)
class Settings:
    """What fedkd calls `method.name` ("fkd" or "fedavg"), `run.*`, `training.*`, `student.*`, `payload.clipping_range`.

    `shards`: each server batch is cut into so many pieces, whose gradients are computed apart and added in order.
    `evaluate_clients`: whether every client's model is scored on the test split in every round.
    """

    method: str
    seed: int
    rounds: int
    model: str
    local_epochs: int
    local_batch: int
    local_rate: float
    momentum: float
    server_epochs: int
    server_batch: int
    server_rate: float
    clipping_range: float
    shards: int = 1
    evaluate_clients: bool = True


@dataclass(frozen=True)
class World:
    """All tensors of a problem, on the CPU; `clients` maps a client to its images and classes."""

    settings: Settings
    clients: dict[int, tuple[Tensor, Tensor]]
    public_images: Tensor
    test_images: Tensor
    test_labels: Tensor
    new_model: Callable[[], nn.Module]


def make_world(settings: Settings, data: FederatedData, clients: Iterable[int]) -> World:
    """Turn data into tensors, for these clients only."""
    private = {client: data.client(client) for client in clients}
    seed = derive_seed(settings.seed, "student")
    return World(
        settings=settings,
        clients={k: (_images(p.images_NCHW), torch.from_numpy(p.labels_N)) for k, p in private.items()},
        public_images=_images(data.public_inputs),
        test_images=_images(data.test.images_NCHW),
        test_labels=torch.from_numpy(data.test.labels_N),
        new_model=lambda: build_model(settings.model, data.input_shape, data.num_classes, seed).to(
            memory_format=torch.channels_last
        ),
    )


def _images(images_NCHW: ByteArray) -> Tensor:
    return torch.from_numpy(to_float(images_NCHW)).contiguous(memory_format=torch.channels_last)
