"""One step's batch, cut into shards whose gradients are computed apart and added in order.

    batch ── torch.tensor_split ──> shard 0 … shard S-1
    gradient of the batch's mean loss = Σ_s (samples of s / samples of the batch) · gradient of the mean loss of s

Guarantees:
    - The result depends on the number of shards S, never on how many workers share them: equal bits for one worker
      and for S (shard s belongs to worker s mod workers; sums are taken in the order of shards, in float32).
    - Without batch normalisation, dropout and terms a step in shards is the whole batch's step, up to rounding. Terms
      see one shard at a time: a mean over samples stays the same, relations between samples of two shards are lost.
    - Batch normalisation normalises each shard by its own statistics ("ghost" batches: Hoffer et al. 2017,
      arXiv:1705.08741); the running statistics move once per step, to the shards' mean, weighted by samples.
    - Dropout draws a stream of its own for each step and shard.
    - Every shard holds at least two samples, as batch normalisation needs; a small last batch makes fewer shards.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fedkd.seeding import derive_seed, seed_torch
from fedkd.training.evaluation import PREDICTION_BATCH, predict_logits
from fedkd.training.loop import BatchLoss
from fedkd.types import FloatArray


class Exchange(Protocol):
    """The workers that share one distillation; each holds a replica of the model and goes through the same steps."""

    @property
    def rank(self) -> int:
        """Which worker this is, from 0."""

    @property
    def size(self) -> int:
        """How many there are."""

    def gather(self, rows: Tensor) -> Tensor:
        """Give this worker's rows on the CPU, of equal shape everywhere, and get [size, *rows]."""


class Alone:
    """The exchange of a single worker."""

    rank = 0
    size = 1

    def gather(self, rows: Tensor) -> Tensor:
        """There is nobody else: add the dimension."""
        return rows.unsqueeze(0)


class ShardedBackward:
    """Computes a batch's gradient in shards; see the module's docstring.

    Args:
        model: this worker's replica.
        num_shards: S.
        exchange: the workers that share the shards.
        seed: of the layers' random draws.
    """

    def __init__(self, model: nn.Module, num_shards: int, exchange: Exchange, seed: int) -> None:
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._buffers = list(model.buffers())
        self._num_shards, self._exchange, self._seed = num_shards, exchange, seed
        self._length = sum(tensor.numel() for tensor in [*self._parameters, *self._buffers]) + 1
        self._step = 0

    def __call__(self, loss_of_batch: BatchLoss, indices: Tensor) -> Tensor:
        """Leave the batch's gradient in the parameters and its running statistics in the buffers; return its loss."""
        pieces = torch.tensor_split(indices, max(1, min(self._num_shards, len(indices) // 2)))
        size = self._exchange.size
        rows = torch.zeros(-(-self._num_shards // size), self._length)
        before = [buffer.clone() for buffer in self._buffers]
        for shard in range(self._exchange.rank, len(pieces), size):
            self._compute(loss_of_batch, pieces[shard], shard, before, len(indices), rows[shard // size])
        gathered = self._exchange.gather(rows)
        total = gathered[0, 0].clone()
        for shard in range(1, len(pieces)):
            total += gathered[shard % size, shard // size]
        self._step += 1
        return self._spread(total, before)

    def _compute(
        self, loss_of_batch: BatchLoss, piece: Tensor, shard: int, before: list[Tensor], batch_size: int, row: Tensor
    ) -> None:
        """One shard's part of the sum, flat: gradients, changes of the buffers, loss."""
        for parameter in self._parameters:
            parameter.grad = None
        for buffer, value in zip(self._buffers, before, strict=True):
            buffer.copy_(value)
        seed_torch(derive_seed(self._seed, "step", self._step, "shard", shard))
        share = len(piece) / batch_size
        loss = loss_of_batch(piece) * share
        loss.backward()  # type: ignore[no-untyped-call]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        parts += [_change(buffer, value, share, shard) for buffer, value in zip(self._buffers, before, strict=True)]
        torch.cat([part.detach().reshape(-1).cpu() for part in [*parts, loss]], out=row)

    def _spread(self, total: Tensor, before: list[Tensor]) -> Tensor:
        sizes = [tensor.numel() for tensor in [*self._parameters, *self._buffers]]
        *parts, loss = torch.split(total, [*sizes, 1])
        for parameter, part in zip(self._parameters, parts, strict=False):
            parameter.grad = part.view(parameter.shape).to(parameter)
        changes = parts[len(self._parameters) :]
        for buffer, value, change in zip(self._buffers, before, changes, strict=True):
            buffer.copy_(value + change.view(buffer.shape).to(buffer))
        return loss[0]


def _change(after: Tensor, before: Tensor, share: float, shard: int) -> Tensor:
    """A shard's part in the move of a buffer; counters move as in the first shard."""
    if after.is_floating_point():
        return (after - before) * share
    return (after - before).float() * (shard == 0)


def predict_together(model: nn.Module, images_NCHW: Tensor, exchange: Exchange) -> FloatArray:
    """Return the same as `predict_logits`, each worker having computed its part of the batches."""
    if exchange.size == 1:
        return predict_logits(model, images_NCHW)
    batches = torch.split(images_NCHW, PREDICTION_BATCH)
    mine = [torch.from_numpy(predict_logits(model, batch)) for batch in batches[exchange.rank :: exchange.size]]
    num_classes = predict_logits(model, images_NCHW[:1]).shape[1]
    rows = torch.zeros(-(-len(batches) // exchange.size), PREDICTION_BATCH, num_classes)
    for row, logits in zip(rows, mine, strict=False):
        row[: len(logits)] = logits
    gathered = exchange.gather(rows).numpy()
    return np.concatenate(
        [gathered[number % exchange.size, number // exchange.size][: len(b)] for number, b in enumerate(batches)]
    )
