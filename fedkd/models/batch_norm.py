"""Batch-norm alignment: a student's batch-norm layer, behind one exact affine map, answers like its teacher's.

In evaluation mode batch norm is affine in each channel, σ = √(variance + eps):

    student   γ_s·(x − μ_s)/σ_s + β_s            teacher   γ_t·(x − μ_t)/σ_t + β_t

The map A(x) = a·(x − μ_t) + b with a = (γ_t/σ_t)·(σ_s/γ_s) and b = μ_s + (σ_s/γ_s)·(β_t − β_s) gives
student(A(x)) = teacher(x) for every x. It exists and is unique where no γ_s is 0.

In float32 the error, relative to the teacher's output, is some 1e-7·(1 + |μ_s|/σ_s): the student subtracts a mean that
the map has added. Shapes: N samples, C channels, and any more dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as AnyBatchNorm

from fedkd.errors import ModelError


class ChannelAffine(nn.Module):
    """a·(x − centre) + b, by channel: [N, C, ...] to the same shape. Has buffers, no parameters.

    Args:
        scale_C: a.
        centre_C: what is subtracted first.
        shift_C: b.
    """

    scale_C: Tensor
    centre_C: Tensor
    shift_C: Tensor

    def __init__(self, scale_C: Tensor, centre_C: Tensor, shift_C: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale_C", scale_C)
        self.register_buffer("centre_C", centre_C)
        self.register_buffer("shift_C", shift_C)

    def forward(self, values: Tensor) -> Tensor:
        """Return the mapped values."""
        shape = (1, -1, *(1,) * (values.dim() - 2))
        centred = values - self.centre_C.view(shape)
        return torch.addcmul(self.shift_C.view(shape), centred, self.scale_C.view(shape))


def align_batch_norm(student: nn.Module, teacher: nn.Module) -> ChannelAffine:
    """Return the map A with student(A(x)) = teacher(x); computed in float64, held in the student's type.

    Args:
        student: a batch-norm layer (1d, 2d or 3d) in evaluation mode, none of whose weights is 0.
        teacher: another of as many channels, in evaluation mode.

    Raises:
        ModelError: a module is no batch norm, trains, or has no running statistics; the widths differ; a weight of the
            student is 0, so that what it loses no map brings back.
    """
    student_norm, teacher_norm = _checked(student, "student"), _checked(teacher, "teacher")
    if student_norm.num_features != teacher_norm.num_features:
        raise ModelError(
            f"batch norm of {student_norm.num_features} channels cannot be aligned to one of "
            f"{teacher_norm.num_features}: the numbers must be equal"
        )
    mean_s, sigma_s, gamma_s, beta_s = _affine_parts(student_norm)
    mean_t, sigma_t, gamma_t, beta_t = _affine_parts(teacher_norm)
    dead = (gamma_s == 0).nonzero().flatten().tolist()
    if dead:
        raise ModelError(f"the student's batch norm has weight 0 in channels {dead}: it cannot be aligned there")
    spread = sigma_s / gamma_s
    parts = (gamma_t / sigma_t * spread, mean_t, mean_s + spread * (beta_t - beta_s))
    like = student_norm.get_buffer("running_mean")
    return ChannelAffine(*(part.to(like) for part in parts))


def batch_norm_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The batch-norm layers of a model by name, in its order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, AnyBatchNorm)}


def has_statistics(model: nn.Module) -> bool:
    """Whether the batch-norm layers of a model have seen a batch: before, their statistics say nothing of any data."""
    counts = [dict(layer.named_buffers()).get("num_batches_tracked") for layer in batch_norm_layers(model).values()]
    return any(count is not None and int(count) > 0 for count in counts)


class BatchNormAlignment:
    """Lets the batch-norm layers of one network answer like another's, layer by layer, until it is closed.

    Neither network is changed: the maps are applied by hooks in front of the student's layers. They are those of the
    statistics at the time of the call.

    Args:
        student: the network whose layers get a map in front of them.
        teacher: the network that they follow.
        pairs: (student's layer, teacher's layer) by name; by default all, in the order of the two networks.

    Raises:
        ModelError: the networks have other numbers of layers, a name is unknown, or a pair cannot be aligned.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, pairs: Sequence[tuple[str, str]] | None = None) -> None:
        ours, theirs = batch_norm_layers(student), batch_norm_layers(teacher)
        if pairs is None:
            if len(ours) != len(theirs):
                raise ModelError(
                    f"a student of {len(ours)} batch-norm layers and a teacher of {len(theirs)}: give pairs"
                )
            pairs = list(zip(ours, theirs, strict=True))
        maps = {name: align_batch_norm(_named(ours, name), _named(theirs, other)) for name, other in pairs}
        self._hooks = [ours[name].register_forward_pre_hook(_in_front(maps[name])) for name in maps]

    def close(self) -> None:
        """Take the maps away."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> BatchNormAlignment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _checked(module: nn.Module, whose: str) -> AnyBatchNorm:
    if not isinstance(module, AnyBatchNorm):
        raise ModelError(f"the {whose}'s layer is a {type(module).__name__}: only batch norm can be aligned")
    if module.training:
        raise ModelError(f"the {whose}'s batch norm is in training mode, where it is no fixed map: call eval() first")
    if not module.track_running_stats:
        raise ModelError(f"the {whose}'s batch norm keeps no running statistics: it is no fixed map")
    return module


def _affine_parts(norm: AnyBatchNorm) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, σ, γ, β, each [C] in float64."""
    mean, variance = (norm.get_buffer(name).double() for name in ("running_mean", "running_var"))
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight.detach().double()
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias.detach().double()
    return mean, (variance + norm.eps).sqrt(), gamma, beta


def _named(layers: dict[str, nn.Module], name: str) -> nn.Module:
    if name not in layers:
        raise ModelError(f"{name!r} is no batch-norm layer: choose one of {', '.join(layers) or 'none'}")
    return layers[name]


def _in_front(affine: ChannelAffine) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if module.training:
            raise ModelError("an aligned batch norm answers in evaluation mode only: close the alignment to train")
        return (affine(inputs[0]), *inputs[1:])

    return hook
