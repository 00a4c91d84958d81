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
    from fedkd.config.experiment import ExperimentConfig, load_config, parse_config
    from fedkd.errors import FedkdError
    from fedkd.experiment import run
    from fedkd.prediction import predict
    from fedkd.records import RunRecord

_HOMES = {
    "ExperimentConfig": "fedkd.config.experiment",
    "FedkdError": "fedkd.errors",
    "RunRecord": "fedkd.records",
    "load_config": "fedkd.config.experiment",
    "parse_config": "fedkd.config.experiment",
    "predict": "fedkd.prediction",
    "run": "fedkd.experiment",
}

__all__ = [
    "ExperimentConfig",
    "FedkdError",
    "RunRecord",
    "__version__",
    "load_config",
    "parse_config",
    "predict",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fedkd' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
