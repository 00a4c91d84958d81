"""Experiments of fedkd as cases of the benchmark: configurations, marks, and what is told of a result."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.child import Stopwatch
from benchmarks.plain_problem import Settings
from fedkd.config.experiment import ExperimentConfig, load_config
from fedkd.engines.simulation import simulate
from fedkd.errors import ConfigError
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.methods.fedavg import FedAvgConfig
from fedkd.methods.fkd import FkdConfig
from fedkd.records import RoundRecord
from fedkd.types import Section


class MarkRounds(Observer):
    """Marks the first round's beginning and every round's end."""

    def __init__(self, watch: Stopwatch) -> None:
        self._watch = watch

    def on_phase(self, server_round: int, phase: str) -> None:
        if server_round == 1 and phase == "training":
            self._watch.begin()

    def on_round(self, record: RoundRecord) -> None:
        del record
        self._watch.end()


def run_fedkd(watch: Stopwatch, toml: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Run an experiment on the engine that it names."""
    return told(simulate(load_config(toml, overrides), MarkRounds(watch)))


def told(result: FederationResult) -> dict[str, Any]:
    """What a case tells of a federation: the student's digest, and accuracies after the last round."""
    last = result.history[-1]
    return {
        "student": student_digest(result.student or {}),
        "student_accuracy": last.student.accuracy,
        "mean_client_accuracy": last.clients.mean_accuracy,
        "teacher_accuracy": last.ensemble_teacher.accuracy,
    }


def student_digest(weights: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """SHA-256 of keys, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for key in sorted(weights):
        array = np.asarray(weights[key], order="C")
        digest.update(f"{key} {array.dtype} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def plain_settings(config: ExperimentConfig) -> Settings:
    """The numbers that the plain loop needs.

    Raises:
        ConfigError: the experiment asks for something that the plain loop does not do.
    """
    for key, value, plain in _what_the_plain_loop_lacks(config):
        if value != plain:
            raise ConfigError(key, value, f"{plain!r}: the plain loop knows nothing else")
    return Settings(
        method=config.method.name,
        seed=config.run.seed,
        rounds=config.run.rounds,
        model=config.student.model,
        local_epochs=config.training.epochs,
        local_batch=config.training.batch_size,
        local_rate=config.training.learning_rate,
        momentum=config.training.momentum,
        server_epochs=config.student.epochs,
        server_batch=config.student.batch_size,
        server_rate=config.student.learning_rate,
        clipping_range=config.payload.clipping_range,
        shards=config.student.shards,
        evaluate_clients=config.run.evaluate_clients_every == 1,
    )


def _what_the_plain_loop_lacks(config: ExperimentConfig) -> list[tuple[str, object, object]]:
    """(key, its value, the one value that the plain loop does)."""
    training, student, clients = config.training, config.student, config.clients
    every = config.run.evaluate_clients_every
    return [
        ("run.evaluate_clients_every", every, min(every, 1)),
        ("clients.models", clients.models, (student.model,)),
        ("clients.fraction_train", clients.fraction_train, 1.0),
        ("clients.dropout_rate", clients.dropout_rate + clients.straggler_rate, 0.0),
        *_other_keys(
            "training", training, {"epochs", "batch_size", "learning_rate", "momentum", "logit_adjustment_eps"}
        ),
        *_other_keys("student", student, {"model", "epochs", "batch_size", "learning_rate", "momentum", "shards"}),
        ("payload.encoding", config.payload.encoding.name, "float32"),
        ("payload.steps", config.payload.steps, ()),
        ("attack.clients", config.attack.clients, ()),
        ("payload.clip", config.payload.clip, True),
        ("method", config.method, {"fkd": FkdConfig(), "fedavg": FedAvgConfig()}.get(config.method.name)),
    ]


def _other_keys(name: str, section: Section, known: Collection[str]) -> list[tuple[str, object, object]]:
    """The keys of a section beyond those that the plain loop knows, each with its default."""
    fields = {key: field for key, field in type(section).model_fields.items() if key not in known}
    return [(f"{name}.{key}", getattr(section, key), field.default) for key, field in fields.items()]
