"""What a small transformer learns from a larger one beside its logits: hidden states and attention.

Jiao et al. 2020, "TinyBERT: Distilling BERT for Natural Language Understanding", arXiv:1909.10351, eq. 7 to 9.
Shapes: N samples, L tokens, D width, A attention heads.
"""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from fedkd.errors import ModelError
from fedkd.losses.precision import at_least_float32


def attention_matrix_loss(student_NALL: Tensor, teacher_NALL: Tensor) -> Tensor:
    """(1/A)·Σ_a MSE(student's matrix of head a, teacher's), the mean over the batch (eq. 7).

    The paper compares matrices before their softmax; the loss takes either.

    Args:
        student_NALL: [N, A, L, L], with gradient.
        teacher_NALL: the same shape, so that the two have as many heads.

    Raises:
        ModelError: the shapes differ, or are not [N, A, L, L].
    """
    if student_NALL.dim() != 4 or student_NALL.shape[2] != student_NALL.shape[3]:
        raise ModelError(f"features of shape {tuple(student_NALL.shape)} are no attention matrices: [N, A, L, L]")
    if student_NALL.shape != teacher_NALL.shape:
        raise ModelError(
            f"student attention of shape {tuple(student_NALL.shape)} does not fit the teacher's "
            f"{tuple(teacher_NALL.shape)}: N, heads and tokens must be equal"
        )
    return F.mse_loss(at_least_float32(student_NALL), at_least_float32(teacher_NALL))


class HiddenStateLoss(nn.Module):
    """MSE(H_s·W, H_t), the mean over the batch. W learns with the student (eq. 8; of embeddings eq. 9).

    What is 0 in both, such as the states of padding, adds nothing and counts in the mean.

    Args:
        student_width: D of the student.
        teacher_width: D of the teacher.
    """

    def __init__(self, student_width: int, teacher_width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(student_width, teacher_width, bias=False)

    def forward(self, student_NLD: Tensor, teacher_NLD: Tensor) -> Tensor:
        """Return the loss of hidden states [N, L, student_width] and [N, L, teacher_width].

        Raises:
            ModelError: other shapes.
        """
        widths = self.projection.in_features, self.projection.out_features
        given = (student_NLD.shape[-1], teacher_NLD.shape[-1])
        if student_NLD.dim() != 3 or student_NLD.shape[:2] != teacher_NLD.shape[:2] or given != widths:
            raise ModelError(
                f"student states of shape {tuple(student_NLD.shape)} do not fit the teacher's "
                f"{tuple(teacher_NLD.shape)}: [N, L, {widths[0]}] and [N, L, {widths[1]}] are allowed"
            )
        return F.mse_loss(at_least_float32(self.projection(student_NLD)), at_least_float32(teacher_NLD))
