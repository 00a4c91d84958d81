"""Hints: the student's features, through a learned regressor, become the teacher's.

Romero et al. 2015, "FitNets: Hints for Thin Deep Nets", arXiv:1412.6550, eq. 3. Shapes: N samples, D width of a vector,
C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from fedkd.errors import ModelError
from fedkd.losses.precision import at_least_float32


def hint_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """½·‖student − teacher‖², summed over units, the mean over the batch (eq. 3, after the regressor).

    Args:
        student_features: [N, ...], with gradient.
        teacher_features: the same shape.

    Raises:
        ModelError: the shapes differ.
    """
    if student_features.shape != teacher_features.shape:
        raise ModelError(
            f"student features of shape {tuple(student_features.shape)} do not fit the teacher's "
            f"{tuple(teacher_features.shape)}: put a HintLoss between them"
        )
    difference = at_least_float32(student_features) - at_least_float32(teacher_features)
    return difference.square().sum() / (2 * len(difference))


class HintLoss(nn.Module):
    """`hint_loss` behind a regressor that learns with the student.

    The regressor is linear between vectors. Between maps it is a convolution without padding whose kernel shrinks the
    student's maps to the teacher's (§2.2), 1×1 where they are of one size.

    Args:
        student_shape: of the student's features without N: (D,) or (C, H, W).
        teacher_shape: likewise.

    Raises:
        ModelError: one is a vector and the other maps, or the student's maps are the smaller ones.
    """

    def __init__(self, student_shape: Sequence[int], teacher_shape: Sequence[int]) -> None:
        super().__init__()
        self.regressor = _regressor(tuple(student_shape), tuple(teacher_shape))

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        """Return the loss of features [N, *student_shape] and [N, *teacher_shape]."""
        return hint_loss(self.regressor(student_features), teacher_features)


def _regressor(student: tuple[int, ...], teacher: tuple[int, ...]) -> nn.Module:
    if len(student) == len(teacher) == 1:
        return nn.Linear(student[0], teacher[0])
    if len(student) == len(teacher) == 3:
        height, width = (ours - theirs + 1 for ours, theirs in zip(student[1:], teacher[1:], strict=True))
        if min(height, width) >= 1:
            return nn.Conv2d(student[0], teacher[0], kernel_size=(height, width))
    raise ModelError(
        f"no regressor from student features {student} to the teacher's {teacher}: "
        "both (D,), or both (C, H, W) with the student's H and W at least the teacher's"
    )
