"""Terms that a client adds to the loss of its local training.

Shape legend: N samples of a batch · C classes · M rows · D width of a row.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from fedkd.errors import ConfigError, PayloadError
from fedkd.parts import PartConfig, build_part, checked_by_binding


@dataclass(frozen=True, eq=False)
class ToldRows:
    """Rows that the server sent to a client, each with the class that it is about.

    Attributes:
        keys_M: classes, int64, each once.
        values_MD: their rows, float32.

    Raises:
        PayloadError: keys and values do not fit together, a class occurs twice, or a value is not finite.
    """

    keys_M: Tensor
    values_MD: Tensor

    def __post_init__(self) -> None:
        fits = self.keys_M.dim() == 1 and self.values_MD.dim() == 2 and len(self.keys_M) == len(self.values_MD)
        if not fits or self.keys_M.dtype != torch.int64 or self.values_MD.dtype != torch.float32:
            given = (
                f"{self.keys_M.dtype} {list(self.keys_M.shape)}, {self.values_MD.dtype} {list(self.values_MD.shape)}"
            )
            raise PayloadError("shape", f"told rows are {given}; allowed: int64 [M] keys and float32 [M, D] values")
        if len(set(self.keys_M.tolist())) < len(self.keys_M):
            raise PayloadError("shape", f"told rows have the keys {self.keys_M.tolist()}; allowed: each once")
        if not self.values_MD.isfinite().all():
            raise PayloadError("not_finite", "told rows hold a value that is not finite")

    def of(self, labels_N: Tensor) -> tuple[Tensor, Tensor]:
        """Look the rows of some classes up.

        Args:
            labels_N: classes, int64, on any device.

        Returns:
            Values [N, D], zeros where there is no row, and whether there is one, bool [N]; on the labels' device.
        """
        found_NM = labels_N[:, None] == self.keys_M.to(labels_N.device)
        values_MD = self.values_MD.to(labels_N.device)
        rows_MD = torch.cat([values_MD.new_zeros(1, values_MD.shape[1]), values_MD])
        numbers_N = (found_NM * torch.arange(1, len(rows_MD), device=labels_N.device)).sum(dim=1)
        return rows_MD[numbers_N], numbers_N > 0


@dataclass(frozen=True, eq=False)
class LocalBatch:
    """What a local term sees of one step.

    Attributes:
        model: the model in training.
        inputs: the batch as the model took it, augmentations included, [N, ...].
        labels_N: its classes.
        logits_NC: the model's output, with gradient.
        start: each parameter by name as it was when the local training began, without gradient.
        told: what the server sent, where a method sends rows down and has done so already; else `None`.
    """

    model: nn.Module
    inputs: Tensor
    labels_N: Tensor
    logits_NC: Tensor
    start: Mapping[str, Tensor]
    told: ToldRows | None = None


class LocalTerm(ABC):
    """A term of the local loss.

    A term with `needs_rows` is left out as long as the server has sent none, as in the first round.
    """

    needs_rows: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, batch: LocalBatch) -> Tensor:
        """Return the mean over the batch, a scalar tensor with gradient."""


@dataclass(frozen=True)
class Proximal(LocalTerm):
    """mu/2 · ‖w − w₀‖², w₀ the weights at the start of the local training: FedProx (Li et al. 2020, "Federated
    Optimization in Heterogeneous Networks", eq. 2).

    Args:
        mu: weight of the term, at least 0.

    Raises:
        ConfigError: mu is negative or not finite.
    """

    mu: float

    def __post_init__(self) -> None:
        if not 0 <= self.mu < math.inf:
            raise ConfigError("mu", self.mu, "finite and at least 0")

    def __call__(self, batch: LocalBatch) -> Tensor:
        """The same for every batch: it looks at the weights alone."""
        total = batch.logits_NC.new_zeros(())
        for name, parameter in batch.model.named_parameters():
            total = total + (parameter - batch.start[name]).square().sum()
        return self.mu / 2 * total


LOCAL_TERMS: Mapping[str, Callable[..., LocalTerm]] = MappingProxyType({"proximal": Proximal})


def build_term(part: PartConfig, key: str) -> LocalTerm:
    """Make the term that a configuration names.

    Raises:
        ConfigError: no such term, an argument that is not allowed, or a part that is no `LocalTerm`.
    """
    return build_part(part, LOCAL_TERMS, key, LocalTerm)


LocalTermPart = Annotated[PartConfig, checked_by_binding(build_term)]


def build_terms(parts: Sequence[PartConfig]) -> tuple[LocalTerm, ...]:
    """Make the terms of a `[training]` section.

    Raises:
        ConfigError: see `build_term`.
    """
    return tuple(build_term(part, "terms") for part in parts)
