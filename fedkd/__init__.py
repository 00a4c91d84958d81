"""Federated knowledge distillation: clients send logits on a shared public set, the server distils a student.

    import fedkd

    config = fedkd.load_config("simulations/digits.toml")
    record = fedkd.run(config)
    print(record.student.accuracy)

Names are loaded on first use, so that `import fedkd` costs nothing and parts without torch stay without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fedkd._version import __version__

if TYPE_CHECKING:
    from fedkd.aggregation import Aggregator, MeanAggregator, Stack
    from fedkd.config.experiment import ExperimentConfig, load_config, parse_config
    from fedkd.errors import (
        ConfigError,
        DataError,
        DeploymentError,
        EngineError,
        FedkdError,
        ModelError,
        PartitionError,
        PayloadError,
        PolicyError,
        PublicSetMismatchError,
        RoundError,
        RunFolderError,
        SecureAggregationError,
        StudyError,
    )
    from fedkd.experiment import RunObserver, distill, resume, run
    from fedkd.federation.answers import RoundArrays
    from fedkd.federation.observers import Observer
    from fedkd.frames import rounds_frame, runs_frame
    from fedkd.methods import ClientView, Method, MethodConfig, Refinement, Upload
    from fedkd.offline import OfflineConfig, load_offline_config
    from fedkd.payload import Codec, Rows, RowsSpec, Step
    from fedkd.prediction import Prediction, load_student, predict
    from fedkd.records import RoundRecord, RunRecord
    from fedkd.run_reports import load_round, read_run, write_comparison, write_report
    from fedkd.training.local_terms import LocalBatch, LocalTerm

_EXPORTED = {
    "fedkd.aggregation": ("Aggregator", "MeanAggregator", "Stack"),
    "fedkd.config.experiment": ("ExperimentConfig", "load_config", "parse_config"),
    "fedkd.errors": (
        "ConfigError",
        "DataError",
        "DeploymentError",
        "EngineError",
        "FedkdError",
        "ModelError",
        "PartitionError",
        "PayloadError",
        "PolicyError",
        "PublicSetMismatchError",
        "RoundError",
        "RunFolderError",
        "SecureAggregationError",
        "StudyError",
    ),
    "fedkd.experiment": ("RunObserver", "distill", "resume", "run"),
    "fedkd.federation.answers": ("RoundArrays",),
    "fedkd.federation.observers": ("Observer",),
    "fedkd.frames": ("rounds_frame", "runs_frame"),
    "fedkd.methods": ("ClientView", "Method", "MethodConfig", "Refinement", "Upload"),
    "fedkd.offline": ("OfflineConfig", "load_offline_config"),
    "fedkd.payload": ("Codec", "Rows", "RowsSpec", "Step"),
    "fedkd.prediction": ("Prediction", "load_student", "predict"),
    "fedkd.records": ("RoundRecord", "RunRecord"),
    "fedkd.run_reports": ("load_round", "read_run", "write_comparison", "write_report"),
    "fedkd.training.local_terms": ("LocalBatch", "LocalTerm"),
}
_MODULES = {name: module for module, names in _EXPORTED.items() for name in names}

__all__ = [
    "Aggregator",
    "ClientView",
    "Codec",
    "ConfigError",
    "DataError",
    "DeploymentError",
    "EngineError",
    "ExperimentConfig",
    "FedkdError",
    "LocalBatch",
    "LocalTerm",
    "MeanAggregator",
    "Method",
    "MethodConfig",
    "ModelError",
    "Observer",
    "OfflineConfig",
    "PartitionError",
    "PayloadError",
    "PolicyError",
    "Prediction",
    "PublicSetMismatchError",
    "Refinement",
    "RoundArrays",
    "RoundError",
    "RoundRecord",
    "Rows",
    "RowsSpec",
    "RunFolderError",
    "RunObserver",
    "RunRecord",
    "SecureAggregationError",
    "Stack",
    "Step",
    "StudyError",
    "Upload",
    "__version__",
    "distill",
    "load_config",
    "load_offline_config",
    "load_round",
    "load_student",
    "parse_config",
    "predict",
    "read_run",
    "resume",
    "rounds_frame",
    "run",
    "runs_frame",
    "write_comparison",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'fedkd' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
