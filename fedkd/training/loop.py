"""The one loop in which every model of fedkd learns: clients, the student, the baselines, local distillation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from fedkd.losses import class_log_prior, logit_adjusted_cross_entropy
from fedkd.seeding import derive_seed, isolated_torch_rng
from fedkd.training.config import OptimizerSection, TrainingConfig
from fedkd.training.local_terms import LocalBatch, LocalTerm, ToldRows

BatchLoss = Callable[[Tensor], Tensor]
"""Takes the indices of one batch, returns its mean loss."""

Backward = Callable[[BatchLoss, Tensor], Tensor]
"""Takes a loss and the indices of one batch, leaves its gradient in the parameters, returns its value."""


def make_optimizer(parameters: Iterator[nn.Parameter], config: OptimizerSection) -> torch.optim.Optimizer:
    """Build the optimiser that `config` names."""
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=config.momentum, weight_decay=decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=rate, weight_decay=decay)
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)


def batches(num_samples: int, batch_size: int, rng: torch.Generator) -> list[Tensor]:
    """Cut a random permutation into batches of indices.

    A last batch of a single sample joins the one before it: batch normalisation cannot train on one sample.
    No samples make no batches: the mean loss of an empty one is NaN.
    """
    pieces = list(torch.split(torch.randperm(num_samples, generator=rng), batch_size)) if num_samples else []
    if len(pieces) > 1 and len(pieces[-1]) == 1:
        pieces[-2:] = [torch.cat(pieces[-2:])]
    return pieces


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
) -> float:
    """Step once per batch; return the mean loss per sample, as seen while stepping."""
    model.train()
    total, count = torch.zeros(()), 0
    for indices in index_batches:
        optimizer.zero_grad(set_to_none=True)
        loss = backward(loss_of_batch, indices)
        if max_grad_norm > 0:
            nn.utils.clip_grad_norm_(model.parameters(), max_grad_norm)
        optimizer.step()
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
) -> list[float]:
    """Train `model` in place with cross-entropy on labelled samples.

    Args:
        model: maps [N, C, H, W] float images to [N, classes] logits.
        images_NCHW: all samples, on the model's device.
        labels_N: their classes.
        config: epochs, batches, optimiser, logit adjustment. The optimiser starts fresh at each call.
        num_classes: number of classes of the problem, of which these samples may show few.
        seed: of the order of the samples and of dropout layers.
        terms: further losses.
        told: rows.

    Returns:
        The mean loss of each epoch.
    """
    log_prior_C = class_log_prior(labels_N, num_classes, config.logit_adjustment_eps)
    start = {name: p.detach().clone() for name, p in model.named_parameters()} if terms else {}

    def loss_of_batch(indices: Tensor) -> Tensor:
        logits_NC = model(images_NCHW[indices])
        smoothing = config.label_smoothing
        if config.logit_adjustment:
            loss = logit_adjusted_cross_entropy(logits_NC, labels_N[indices], log_prior_C, smoothing)
        else:
            loss = nn.functional.cross_entropy(logits_NC, labels_N[indices], label_smoothing=smoothing)
        for term in terms:
            loss = loss + term(LocalBatch(model, images_NCHW[indices], labels_N[indices], logits_NC, start, told))
        return loss

    optimizer = make_optimizer(model.parameters(), config)
    rng = torch.Generator().manual_seed(derive_seed(seed, "order"))
    with isolated_torch_rng(derive_seed(seed, "layers")):
        return [
            run_epoch(
                model,
                optimizer,
                batches(len(labels_N), config.batch_size, rng),
                loss_of_batch,
                max_grad_norm=config.max_grad_norm,
            )
            for _ in range(config.epochs)
        ]
