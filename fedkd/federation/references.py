"""What the methods are compared with: Flower's own FedAvg and FedProx, and the two baselines.

The baselines train for the same total of local epochs as a client that is drawn in every round: `local_only` is the
mean over clients that never communicate, `centralised` is one student on the union of their samples. Each is measured
after every round's worth of epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import mean
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg, FedProx
from torch import Tensor, nn

from fedkd.aggregation import Weights
from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import RoundError
from fedkd.federation.messages import TRAIN
from fedkd.federation.workspace import Workspace
from fedkd.methods import REFERENCES, Contribution, Method, MethodConfig, build_method
from fedkd.methods.base import StartRule
from fedkd.methods.fedavg import FedProxConfig, compose
from fedkd.records import Baselines
from fedkd.seeding import derive_seed
from fedkd.training.evaluation import balanced_accuracy, predict_logits, score
from fedkd.training.loop import train_supervised

Progress = Callable[[str, int, int], None]
"""Called with what is being trained, how many of it are done, and of how many."""


def compose_method(config: MethodConfig) -> Method:
    """Compose the method that `[method]` names, references among them."""
    if config.name not in REFERENCES:
        return build_method(config)
    if isinstance(config, FedProxConfig):
        return compose(config, flower_average(partial(FedProx, proximal_mu=config.proximal_mu)))
    return compose(config, flower_average(FedAvg))


def flower_average(make_strategy: Callable[[], FedAvg]) -> StartRule:
    """Let a fresh Flower strategy's own `aggregate_train` average the clients' weights."""

    def average(previous: Weights, contributions: Sequence[Contribution]) -> Weights:
        replies = [_as_reply(contribution) for contribution in contributions]
        if not replies:
            return previous
        strategy = make_strategy()
        arrays, _ = strategy.aggregate_train(0, replies)
        if arrays is None:
            raise RoundError(f"Flower's {type(strategy).__name__} aggregated {len(replies)} replies to nothing")
        return {key: _cast(arrays[key].numpy(), previous[key].dtype) for key in previous}

    return average


def _cast(average: npt.NDArray[np.generic], dtype: np.dtype[Any]) -> npt.NDArray[np.generic]:
    """Give an average its dtype back; integer buffers are rounded."""
    return np.asarray(np.rint(average) if np.issubdtype(dtype, np.integer) else average, dtype=dtype)


def _as_reply(contribution: Contribution) -> Message:
    content = RecordDict(
        {
            "arrays": ArrayRecord({key: Array(array) for key, array in (contribution.weights or {}).items()}),
            "metrics": MetricRecord({"num-examples": contribution.num_examples}),
        }
    )
    return Message(content, dst_node_id=0, message_type=TRAIN)


def train_baselines(config: ExperimentConfig, workspace: Workspace, progress: Progress) -> Baselines:
    """Train both baselines and measure them on the global test split."""
    number = config.clients.number
    curves, balanced = [], []
    for client in range(number):
        progress("local-only", client, number)
        seed = derive_seed(config.run.seed, "client", client, "model")
        model = workspace.build_model(config.client_model(client), seed)
        curve, last = _curve(config, workspace, model, workspace.client(client), ("client", client))
        curves.append(curve)
        balanced.append(last)
    progress("centralised", 0, 1)
    student = workspace.build_model(config.student.model, derive_seed(config.run.seed, "student"))
    clients = [workspace.client(client) for client in range(number)]
    union = (torch.cat([images for images, _ in clients]), torch.cat([labels for _, labels in clients]))
    centralised, centralised_balanced = _curve(config, workspace, student, union, ("centralised",))
    progress("baselines", 1, 1)
    local_only = [float(value) for value in np.mean(curves, axis=0)]
    return Baselines(
        local_only=local_only[-1],
        centralised=centralised[-1],
        local_only_balanced=mean(balanced),
        centralised_balanced=centralised_balanced,
        local_only_history=tuple(local_only),
        centralised_history=tuple(centralised),
    )


def _curve(
    config: ExperimentConfig,
    workspace: Workspace,
    model: nn.Module,
    samples: tuple[Tensor, Tensor],
    stream: tuple[str | int, ...],
) -> tuple[list[float], float]:
    """Train a model; returns its accuracy after every round's worth of epochs, and its balanced accuracy at last."""
    accuracies, labels_N = [], workspace.data.test.labels_N
    for server_round in range(1, config.run.rounds + 1):
        train_supervised(
            model,
            *samples,
            config.training,
            num_classes=workspace.data.num_classes,
            seed=derive_seed(config.run.seed, *stream, "round", server_round, "training"),
            server_round=server_round,
            num_rounds=config.run.rounds,
        )
        logits_NC = predict_logits(model, workspace.test_inputs)
        accuracies.append(score(logits_NC, labels_N).accuracy)
    return accuracies, balanced_accuracy(logits_NC, labels_N)
