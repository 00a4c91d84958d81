"""Further losses of local training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ToldRows:
    keys_M: Tensor
    values_MD: Tensor

    def of(self, labels_N: Tensor) -> tuple[Tensor, Tensor]:
        at = torch.searchsorted(self.keys_M, labels_N).clamp(max=len(self.keys_M) - 1)
        return self.values_MD[at], self.keys_M[at] == labels_N


@dataclass(frozen=True)
class LocalBatch:
    """TEMP."""

    model: nn.Module
    inputs: Tensor
    labels_N: Tensor
    logits_NC: Tensor
    start: Mapping[str, Tensor]
    told: ToldRows | None


class LocalTerm(ABC):
    """TEMP."""

    needs_rows: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, batch: LocalBatch) -> Tensor:
        """TEMP."""


@dataclass(frozen=True)
class Proximal(LocalTerm):
    """TEMP."""

    mu: float

    def __call__(self, batch: LocalBatch) -> Tensor:
        """TEMP."""
        squares = [(p - batch.start[n]).square().sum() for n, p in batch.model.named_parameters()]
        return self.mu / 2 * torch.stack(squares).sum()
