"""The server's work on tensors: distil one model, predict with many. Values in, values out, so that any worker can.

A server model lives between rounds as arrays (`ModelState`). That is what a worker is sent, what a snapshot holds, and
why no engine can differ from another in what it carries over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig
from fedkd.distillation import Distiller
from fedkd.distillation.executor import Executor
from fedkd.distillation.shards import Exchange
from fedkd.federation.weights import load_weights, read_weights
from fedkd.federation.workspace import open_workspace
from fedkd.records import Distillation
from fedkd.training.evaluation import PREDICTION_BATCH, predict_logits
from fedkd.training.optimizer_state import OptimizerArrays
from fedkd.types import FloatArray, IntArray


@dataclass(frozen=True)
class ModelState:
    """A server model between rounds: its weights, and what its optimiser remembers where that is kept."""

    weights: Weights
    optimizer: OptimizerArrays = field(default_factory=dict)


@dataclass(frozen=True)
class DistillationTask:
    """Distil a teacher's logits [N, C] on the public samples `indices_N` into a model, in one of the rounds."""

    config: ExperimentConfig
    architecture: str
    state: ModelState
    indices_N: IntArray
    teacher_NC: FloatArray
    seed: int
    server_round: int = 1

    def __call__(self, exchange: Exchange) -> tuple[ModelState, Distillation]:
        """Do this worker's part; every worker ends with the same model.

        Raises:
            RoundError: the distillation diverged.
        """
        workspace, student = open_workspace(self.config), self.config.student
        model = workspace.build_model(self.architecture, seed=0)
        load_weights(model, self.state.weights)
        kept = student.optimizer_state == "kept"
        distiller = Distiller(model, student, keep_optimizer=kept, shards=student.shards, exchange=exchange)
        distiller.load_optimizer_state(self.state.optimizer)
        public = workspace.public_batch(self.indices_N, self.teacher_NC)
        report = distiller.distil(public, self.seed, self.server_round, self.config.run.rounds)
        return ModelState(read_weights(model), distiller.optimizer_state()), report


@dataclass(frozen=True)
class PredictionTask:
    """Logits of one model on a stretch of the public samples `indices_N`, or of the test split where that is `None`."""

    config: ExperimentConfig
    architecture: str
    weights: Weights
    indices_N: IntArray | None
    stretch: slice

    def __call__(self) -> FloatArray:
        """Return [samples of the stretch, C]."""
        workspace = open_workspace(self.config)
        model = workspace.build_model(self.architecture, seed=0)
        load_weights(model, self.weights)
        if self.indices_N is None:
            return predict_logits(model, workspace.test_inputs[self.stretch])
        return predict_logits(model, workspace.public_inputs_at(self.indices_N[self.stretch]))


def predict(
    executor: Executor,
    config: ExperimentConfig,
    models: Sequence[tuple[str, Weights]],
    indices_N: IntArray | None = None,
) -> list[FloatArray]:
    """Let models, given as (architecture, weights), answer the public samples `indices_N`, or the test split.

    Returns:
        The logits of each model, [N, C], the same bits on every executor.
    """
    num_samples = len(open_workspace(config).data.test) if indices_N is None else len(indices_N)
    stretches = _stretches(num_samples, -(-executor.workers // max(len(models), 1)))
    tasks = [PredictionTask(config, *model, indices_N, stretch) for model in models for stretch in stretches]
    logits = executor.map(_call, tasks)
    per_model = len(stretches)
    return [np.concatenate(logits[first : first + per_model]) for first in range(0, len(logits), per_model)]


def _call(task: Callable[[], FloatArray]) -> FloatArray:
    return task()


def _stretches(num_samples: int, wanted: int) -> list[slice]:
    """Cut samples into at most `wanted` stretches of whole prediction batches."""
    batches = -(-num_samples // PREDICTION_BATCH)
    length = -(-batches // wanted) * PREDICTION_BATCH
    return [slice(first, min(first + length, num_samples)) for first in range(0, num_samples, length)]
