"""Offline distillation: one trained teacher, one student, no federation (the term of Gou et al. 2021, §4.1)."""

from fedkd.offline.config import OfflineConfig, RecordedConfig, load_offline_config, parse_recorded
from fedkd.offline.run import OfflineDistillation, open_offline

__all__ = [
    "OfflineConfig",
    "OfflineDistillation",
    "RecordedConfig",
    "load_offline_config",
    "open_offline",
    "parse_recorded",
]
