"""Distillation: a model learns from a teacher's logits."""

from fedkd.distillation.config import DistillationConfig, StudentConfig, TemperatureSelectionConfig
from fedkd.distillation.distiller import Distiller

__all__ = ["DistillationConfig", "Distiller", "StudentConfig", "TemperatureSelectionConfig"]
