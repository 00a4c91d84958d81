"""Attention transfer: where a network looks. Shapes: N samples, C channels, H height, W width.

Zagoruyko & Komodakis 2017, "Paying More Attention to Attention", arXiv:1612.03928, eq. 2.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from fedkd.errors import ModelError
from fedkd.losses.precision import at_least_float32


def attention_map(features_NCHW: Tensor) -> Tensor:
    """Σ_c A_c², a vector of norm 1 per sample, [N, H·W] (F_sum² of §3.1, normalised); 0 where all features are."""
    if features_NCHW.dim() != 4:
        raise ModelError(f"features of shape {tuple(features_NCHW.shape)} have no attention map: [N, C, H, W]")
    return F.normalize(at_least_float32(features_NCHW).square().sum(dim=1).flatten(1), dim=1)


def attention_loss(student_NCHW: Tensor, teacher_NCHW: Tensor) -> Tensor:
    """‖Q_s − Q_t‖² of the two attention maps, the mean over the batch. The numbers of channels may differ.

    Equation 2 has the norm; as in the authors' code it is squared here, which is smooth where the maps agree.

    Raises:
        ModelError: features are not [N, C, H, W], or their H or W differ.
    """
    student_NA, teacher_NA = attention_map(student_NCHW), attention_map(teacher_NCHW)
    if student_NCHW.shape[2:] != teacher_NCHW.shape[2:] or len(student_NCHW) != len(teacher_NCHW):
        raise ModelError(
            f"student maps of shape {tuple(student_NCHW.shape)} do not fit the teacher's "
            f"{tuple(teacher_NCHW.shape)}: N, H and W must be equal"
        )
    return (student_NA - teacher_NA).square().sum() / len(student_NA)
