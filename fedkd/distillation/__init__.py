"""Distillation: a model learns from a teacher's logits, and from what the teacher computes on the way."""

from fedkd.distillation.config import DistillationConfig, StudentConfig, TemperatureSelectionConfig
from fedkd.distillation.distiller import Distiller
from fedkd.distillation.objective import ObjectiveConfig, RelationConfig
from fedkd.distillation.public_batch import PublicBatch, answered_by
from fedkd.distillation.terms import Term, relation_terms

__all__ = [
    "DistillationConfig",
    "Distiller",
    "ObjectiveConfig",
    "PublicBatch",
    "RelationConfig",
    "StudentConfig",
    "TemperatureSelectionConfig",
    "Term",
    "answered_by",
    "relation_terms",
]
