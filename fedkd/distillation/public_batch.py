"""What a distillation sees of the public samples, and a teacher's answers on them, computed once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from fedkd.distillation.terms import LOGITS
from fedkd.models.taps import FeatureTaps
from fedkd.training.evaluation import PREDICTION_BATCH


@dataclass(frozen=True)
class PublicBatch:
    """N public images, the teacher's logits on them, true classes where there are, and the teacher's features by the
    names of its modules, each [N, ...], where a term needs them.
    """

    images_NCHW: Tensor
    teacher_logits_NC: Tensor
    labels_N: Tensor | None = None
    teacher_features: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def teacher_outputs(self) -> Mapping[str, Tensor]:
        """The teacher's features, and under the empty name its logits."""
        return {LOGITS: self.teacher_logits_NC, **self.teacher_features}

    def take(self, indices: Tensor) -> PublicBatch:
        """The samples at `indices`."""
        labels = None if self.labels_N is None else self.labels_N[indices]
        features = {name: values[indices] for name, values in self.teacher_features.items()}
        return PublicBatch(self.images_NCHW[indices], self.teacher_logits_NC[indices], labels, features)


def answered_by(
    teacher: nn.Module, images_NCHW: Tensor, labels_N: Tensor | None = None, taps: Iterable[str] = ()
) -> PublicBatch:
    """Let a teacher, in evaluation mode, answer every image once; no epoch of a distillation asks it again.

    Args:
        teacher: maps images to logits [N, C]; its mode is left as it was.
        images_NCHW: all public images, on the teacher's device.
        labels_N: their classes, where they are known.
        taps: names of modules whose outputs are kept, too: N times their size in memory.

    Raises:
        ModelError: a module is unknown or cannot be tapped.
    """
    names, logits, features = tuple(taps), [], []
    modes = [(module, module.training) for module in teacher.modules()]
    with FeatureTaps(teacher.eval(), names) as tapped, torch.no_grad():
        for images in torch.split(images_NCHW, PREDICTION_BATCH):
            logits.append(teacher(images).float())
            features.append(tapped.features)
    for module, training in modes:
        module.training = training
    return PublicBatch(
        images_NCHW,
        torch.cat(logits),
        labels_N,
        {name: torch.cat([each[name] for each in features]) for name in names},
    )
