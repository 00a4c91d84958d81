"""Relations between samples, kept by the student whatever its width. Shapes: N samples, M tasks, D width.

Features of any shape [N, ...] are taken as vectors; student and teacher may differ in all but N.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from fedkd.errors import ModelError
from fedkd.losses.precision import at_least_float32


def similarity_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """(1/N²)·‖G_s − G_t‖², G the Gram matrix of the batch with rows of norm 1.

    Tung & Mori 2019, "Similarity-Preserving Knowledge Distillation", arXiv:1907.09682, eq. 1 to 4.

    Raises:
        ModelError: other numbers of samples.
    """
    student_ND, teacher_ND = _vectors(student_features, teacher_features)
    return (_similarities(student_ND) - _similarities(teacher_ND)).square().mean()


def distance_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Huber loss of the distances of all pairs, in units of their mean over the batch.

    Park et al. 2019, "Relational Knowledge Distillation", arXiv:1904.05068, eq. 5 to 8; the mean over pairs of distinct
    samples, and 0 where there is none.

    Raises:
        ModelError: other numbers of samples.
    """
    student_ND, teacher_ND = _vectors(student_features, teacher_features)
    student_P, teacher_P = _relative_distances(student_ND), _relative_distances(teacher_ND)
    return F.huber_loss(student_P, teacher_P, reduction="sum") / max(len(student_P), 1)


def angle_loss(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Huber loss of the cosines of the angles that all triples of samples form.

    Park et al. 2019, eq. 9 and 10; the mean over triples of distinct samples, and 0 where there is none. Takes memory
    of N²·D and N³.

    Raises:
        ModelError: other numbers of samples.
    """
    student_ND, teacher_ND = _vectors(student_features, teacher_features)
    student, teacher = _cosines(student_ND), _cosines(teacher_ND)
    num_samples = len(student_ND)
    num_triples = num_samples * (num_samples - 1) * (num_samples - 2) // 2
    return F.huber_loss(student, teacher, reduction="sum") / max(num_triples, 1)


def task_geometry(outputs: Sequence[Tensor]) -> Tensor:
    """How alike M tasks see one batch, [M, M] in [0, 1]: linear CKA between every two task outputs [N, ...].

    Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited", arXiv:1905.00414, eq. 3: the cosine
    of the centred Gram matrices. It does not see rotations, shifts and scales of a task's output.

    Raises:
        ModelError: fewer than two tasks, or other numbers of samples.
    """
    if len(outputs) < 2:
        raise ModelError(f"{len(outputs)} task outputs have no geometry: at least 2")
    vectors = _vectors(*outputs)
    centred = [values_ND - values_ND.mean(dim=0, keepdim=True) for values_ND in vectors]
    grams = torch.stack([(values_ND @ values_ND.T).flatten() for values_ND in centred])
    return F.normalize(grams, dim=1) @ F.normalize(grams, dim=1).T


def task_geometry_loss(student_outputs: Sequence[Tensor], teacher_outputs: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of the student's and the teacher's `task_geometry` over pairs of distinct tasks.

    Raises:
        ModelError: other numbers of tasks or of samples, or fewer than two tasks.
    """
    if len(student_outputs) != len(teacher_outputs):
        raise ModelError(f"{len(student_outputs)} student tasks do not fit the teacher's {len(teacher_outputs)}")
    difference_MM = task_geometry(student_outputs) - task_geometry(teacher_outputs)
    num_tasks = len(difference_MM)
    return difference_MM.triu(diagonal=1).square().sum() * 2 / (num_tasks * (num_tasks - 1))


RELATIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"similarity": similarity_loss, "distance": distance_loss, "angle": angle_loss}
)
"""The losses on relations between samples, which take features of any two shapes."""


def _vectors(*features: Tensor) -> list[Tensor]:
    """Features as [N, D], at least in float32, in which sums over many samples are taken."""
    sizes = {len(each) for each in features}
    if len(sizes) > 1:
        raise ModelError(f"features of {sorted(sizes)} samples have no relations in common: N must be equal")
    return [at_least_float32(each).flatten(1) for each in features]


def _similarities(features_ND: Tensor) -> Tensor:
    return F.normalize(features_ND @ features_ND.T, dim=1)


def _relative_distances(features_ND: Tensor) -> Tensor:
    """Distances of all pairs [N·(N − 1)/2] over their mean; 0 where all samples coincide."""
    distances_P = F.pdist(features_ND)
    return distances_P / distances_P.mean().clamp_min(torch.finfo(distances_P.dtype).tiny)


def _cosines(features_ND: Tensor) -> Tensor:
    """Cosines of the angles at each sample j between the directions to i < k, [N, N·(N − 1)/2]; 0 where j is i or k."""
    directions_NND = F.normalize(features_ND[None] - features_ND[:, None], dim=2)
    first, second = torch.triu_indices(len(features_ND), len(features_ND), offset=1, device=features_ND.device)
    return (directions_NND @ directions_NND.mT)[:, first, second]
