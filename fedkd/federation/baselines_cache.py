"""Baselines, kept across runs: what determines them is hashed, and equal runs share one file.

The cache lies in `<run.output>/.baselines/`. Removing it loses time, nothing else.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
from pathlib import Path

import torch
from pydantic import ValidationError

from fedkd._version import __version__
from fedkd.config.experiment import ExperimentConfig
from fedkd.federation.references import Progress, train_baselines
from fedkd.federation.threads import one_torch_thread
from fedkd.federation.weights import read_weights
from fedkd.federation.workspace import Workspace
from fedkd.records import Baselines
from fedkd.storage.files import locked, naming_failures, write_atomically
from fedkd.training.config import TrainingConfig

logger = logging.getLogger(__name__)


def cached_baselines(config: ExperimentConfig, workspace: Workspace, progress: Progress) -> Baselines:
    """Return the baselines of this experiment, training them only where no run of the same output folder has.

    Runs that need the same baselines at the same time wait for the one of them that trains them.

    Raises:
        RunFolderError: the cache cannot be written.
    """
    path = Path(config.run.output) / ".baselines" / f"{_key(config, workspace)}.json"
    with naming_failures("make the folder", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path, path.with_suffix(".lock")):
        found = _read(path)
        if found is not None:
            return found
        with one_torch_thread():
            baselines = train_baselines(config, workspace, progress)
        write_atomically(path, baselines.model_dump_json().encode())
        return baselines


def _read(path: Path) -> Baselines | None:
    if not path.is_file():
        return None
    try:
        return Baselines.model_validate_json(path.read_bytes())
    except ValidationError:
        logger.warning("%s is damaged; the baselines are trained again", path)
        return None


def _fingerprint(name: str, workspace: Workspace) -> str:
    """A model's structure and first weights: what a name, or a user's own factory, stands for today."""
    model = workspace.build_model(name, seed=0)
    weights = b"".join(array.tobytes() for array in read_weights(model).values())
    return hashlib.sha256(repr(model).encode() + weights).hexdigest()


def _own_code(training: TrainingConfig) -> dict[str, str]:
    """The files behind the import paths of a section: what a path stands for today."""
    one = (training.optimizer, training.schedule, training.round_schedule, training.loss)
    modules = {
        part.name.partition(":")[0] for part in (*one, *training.augmentation, *training.terms) if ":" in part.name
    }
    files = {name: getattr(importlib.import_module(name), "__file__", None) for name in sorted(modules)}
    return {name: hashlib.sha256(Path(file).read_bytes()).hexdigest() for name, file in files.items() if file}


def _key(config: ExperimentConfig, workspace: Workspace) -> str:
    determines = {
        "versions": [__version__, torch.__version__],
        "measures": list(Baselines.model_fields),
        "device": workspace.device.type,
        "seed": config.run.seed,
        "rounds": config.run.rounds,
        "models": [config.client_model(client) for client in range(config.clients.number)],
        "student": config.student.model,
        "code": {name: _fingerprint(name, workspace) for name in {*config.clients.models, config.student.model}},
        "training": config.training.model_dump(mode="json"),
        "own_code": _own_code(config.training),
        "heterogeneity": config.data.heterogeneity.model_dump(mode="json"),
        "private": workspace.data.train.digest(),
        "test": workspace.data.test.digest(),
        "partition": [indices.tolist() for indices in workspace.data.partitions],
    }
    return hashlib.sha256(json.dumps(determines, sort_keys=True).encode()).hexdigest()[:32]
