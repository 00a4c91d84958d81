"""The one loop in which every model of fedkd learns: clients, the student, the baselines, local distillation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from fedkd.seeding import derive_seed, isolated_torch_rng
from fedkd.training.config import OptimizerSection, TrainingConfig
from fedkd.training.local_objective import LocalObjective
from fedkd.training.local_terms import LocalTerm, ToldRows
from fedkd.training.optimizers import make_optimizer
from fedkd.training.schedules import make_schedule, round_factor

BatchLoss = Callable[[Tensor], Tensor]
"""Takes the indices of one batch, returns its mean loss."""

Backward = Callable[[BatchLoss, Tensor], Tensor]
"""Takes a loss and the indices of one batch, leaves its gradient in the parameters, returns its value."""


def batches(num_samples: int, batch_size: int, rng: torch.Generator) -> list[Tensor]:
    """Cut a random permutation into batches of indices.

    A last batch of a single sample joins the one before it: batch normalisation cannot train on one sample.
    No samples make no batches: the mean loss of an empty one is NaN.
    """
    pieces = list(torch.split(torch.randperm(num_samples, generator=rng), batch_size)) if num_samples else []
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [torch.cat(pieces[-2:])]
    return pieces


def num_batches(num_samples: int, batch_size: int) -> int:
    """Return the number of batches that `batches` makes."""
    pieces = -(-num_samples // batch_size)
    return pieces - (pieces > 1 and num_samples - (pieces - 1) * batch_size == 1)


def optimizer_and_schedule(
    model: nn.Module, config: OptimizerSection, num_samples: int, server_round: int, num_rounds: int
) -> tuple[torch.optim.Optimizer, LRScheduler | None]:
    """Make a new optimiser for one call, at the learning rate of its round, and the schedule of its steps.

    Args:
        model: what it changes.
        config: epochs, batches, optimiser and schedules.
        num_samples: of one epoch.
        server_round: from 1.
        num_rounds: of the whole federation.

    Raises:
        ConfigError: a factory or schedule behind an import path that fails, or returns something else.
    """
    factor = round_factor(config.round_schedule, server_round, num_rounds)
    optimizer = make_optimizer(model.parameters(), config, factor)
    num_steps = config.epochs * num_batches(num_samples, config.batch_size)
    return optimizer, make_schedule(config.schedule, optimizer, num_steps)


def backward_whole(loss_of_batch: BatchLoss, indices: Tensor) -> Tensor:
    """The gradient of a batch in one pass."""
    loss = loss_of_batch(indices)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def run_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    index_batches: list[Tensor],
    loss_of_batch: BatchLoss,
    *,
    max_grad_norm: float = 0.0,
    backward: Backward = backward_whole,
    schedule: LRScheduler | None = None,
) -> float:
    """Step once per batch, schedule after optimiser; return the mean loss per sample, as seen while stepping."""
    model.train()
    total, count = torch.zeros(()), 0
    for indices in index_batches:
        optimizer.zero_grad(set_to_none=True)
        loss = backward(loss_of_batch, indices)
        if max_grad_norm > 0:
            nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        total += loss.cpu() * len(indices)
        count += len(indices)
    return float(total) / max(count, 1)


def train_supervised(
    model: nn.Module,
    images_NCHW: Tensor,
    labels_N: Tensor,
    config: TrainingConfig,
    *,
    num_classes: int,
    seed: int,
    terms: Sequence[LocalTerm] = (),
    told: ToldRows | None = None,
    server_round: int = 1,
    num_rounds: int = 1,
) -> list[float]:
    """Train `model` in place on labelled samples.

    Args:
        model: maps [N, C, H, W] float images, or [N, L] tokens, to [N, classes] logits.
        images_NCHW: all samples, on the model's device.
        labels_N: their classes.
        config: epochs, batches, optimiser, schedules, loss, augmentations, terms. The optimiser starts fresh at each
            call.
        num_classes: number of classes of the problem, of which these samples may show few.
        seed: of the order of the samples, of augmentations and of dropout layers.
        terms: what the method adds to the loss, after the terms of the section.
        told: rows that the server sent, for terms that need some.
        server_round: from 1, for the schedule over rounds.
        num_rounds: of the whole federation.

    Returns:
        The mean loss of each epoch.

    Raises:
        ConfigError: a part behind an import path that fails, or returns what it must not.
        DataError: an augmentation of images, and samples that are none.
    """
    objective = LocalObjective(
        model, images_NCHW, labels_N, config, num_classes=num_classes, seed=seed, terms=terms, told=told
    )
    optimizer, schedule = optimizer_and_schedule(model, config, len(labels_N), server_round, num_rounds)
    rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
    with isolated_torch_rng(derive_seed(seed, "layers")):
        return [
            run_epoch(
                model,
                optimizer,
                batches(len(labels_N), config.batch_size, rng),
                objective,
                max_grad_norm=config.max_grad_norm,
                schedule=schedule,
            )
            for _ in range(config.epochs)
        ]
