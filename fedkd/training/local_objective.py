"""The loss of a client's training on its own labelled samples: augmented inputs, a loss on labels, and terms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fedkd.errors import ConfigError
from fedkd.losses.local import LOCAL_LOSSES, SECTION_KEYS, bind_loss
from fedkd.seeding import torch_rng
from fedkd.training.augmentation import chain
from fedkd.training.config import TrainingConfig
from fedkd.training.local_terms import LocalBatch, LocalTerm, ToldRows, build_terms


class LocalObjective:
    """The mean loss of a batch: loss(model(augmented inputs), labels) + Σ terms.

    Args:
        model: maps inputs to logits [N, C]. Its weights of now are those that terms see as the start.
        inputs: all samples, [N, ...], on the model's device.
        labels_N: their classes.
        config: loss, augmentations and terms.
        num_classes: C.
        seed: of the augmentations.
        terms: further terms, after those of the section.
        told: rows that the server sent; `None` where there are none, and terms that need some are left out.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Tensor,
        labels_N: Tensor,
        config: TrainingConfig,
        *,
        num_classes: int,
        seed: int,
        terms: Sequence[LocalTerm] = (),
        told: ToldRows | None = None,
    ) -> None:
        self._model, self._inputs, self._labels_N, self._told = model, inputs, labels_N, told
        self._terms = [t for t in (*build_terms(config.terms), *terms) if told is not None or not t.needs_rows]
        self._start = _copied(model) if self._terms else {}
        self._augment = chain(config.augmentation, torch_rng(seed, "augmentation"))
        self._loss, self._named = bind_loss(config.loss, "loss"), config.loss.name
        self._keywords = {key: getattr(config, key) for key in SECTION_KEYS if self._named in LOCAL_LOSSES}
        self._counts_C = torch.bincount(labels_N, minlength=num_classes)

    def __call__(self, indices: Tensor) -> Tensor:
        """Return the loss of the samples at `indices`.

        Raises:
            ConfigError: an augmentation that changes shapes, or a loss or term that is no scalar tensor.
            DataError: an augmentation of images, and inputs that are none.
        """
        inputs, labels_N = self._augment(self._inputs[indices]), self._labels_N[indices]
        logits_NC = self._model(inputs)
        loss = _scalar(self._loss(logits_NC, labels_N, self._counts_C, **self._keywords), "loss", self._named)
        if not self._terms:
            return loss
        batch = LocalBatch(self._model, inputs, labels_N, logits_NC, self._start, self._told)
        for term in self._terms:
            loss = loss + _scalar(term(batch), "terms", type(term).__name__)
        return loss


def _copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def _scalar(value: object, key: str, name: str) -> Tensor:
    if isinstance(value, Tensor) and value.dim() == 0:
        return value
    given = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise ConfigError(key, name, f"what returns a scalar tensor, the mean over the batch; this returns {given}")
