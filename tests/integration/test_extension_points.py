"""Parts by import path act in a whole run: on every client, on the student, and in the records."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer
from fedkd.federation.references import train_baselines
from fedkd.federation.workspace import open_workspace
from fedkd.records import RoundRecord

Small = Callable[..., ExperimentConfig]


def half_rate(server_round: int, num_rounds: int) -> float:
    """1 in the first of two rounds, 0 in the second: nothing is learnt there."""
    assert num_rounds == 2
    return float(server_round == 1)


def inverted(inputs: Tensor, rng: torch.Generator) -> Tensor:
    return -inputs


def unchanged(inputs: Tensor, rng: torch.Generator) -> Tensor:
    torch.rand(3, generator=rng)
    return inputs


def by_remainder(labels_N: np.ndarray, num_clients: int, rng: np.random.Generator) -> Sequence[np.ndarray]:
    return [np.flatnonzero(labels_N % num_clients == client) for client in range(num_clients)]


def right(logits_NC: np.ndarray, labels_N: np.ndarray) -> float:
    return float((logits_NC.argmax(axis=1) == labels_N).mean())


def rounds_and_student(config: ExperimentConfig) -> tuple[Sequence[RoundRecord], dict[str, np.ndarray] | None]:
    result = simulate(config, Observer())
    return result.history, result.student


@pytest.mark.parametrize("method", ["fkd", "feddf", "fedavg"])
def test_metrics_are_recorded_for_student_and_teacher(method: str, small_config: Small) -> None:
    """The share of right answers, once more by a metric, is the accuracy that is recorded anyway."""
    metrics = [f"{__name__}:right", {"name": "top_k_accuracy", "k": 10}]
    history, student = rounds_and_student(small_config(method={"name": method}, run={"metrics": metrics}))
    for record in history:
        assert record.metrics["student/right"] == record.student.accuracy
        assert record.metrics.get("ensemble_teacher/right") == record.ensemble_teacher.accuracy
        assert {value for name, value in record.metrics.items() if "top_k" in name} == {1.0}
    _, without = rounds_and_student(small_config(method={"name": method}))
    assert all(np.array_equal(student[key], without[key]) for key in without)


def test_a_schedule_over_rounds_reaches_clients_and_student(small_config: Small) -> None:
    """With factor 0 in the second of two rounds everybody ends where one round alone ends."""
    schedule = {"round_schedule": f"{__name__}:half_rate"}
    two = small_config(training=schedule, student=schedule)
    history, student = rounds_and_student(two)
    assert history[0].student == history[1].student
    _, only = rounds_and_student(small_config(run={"rounds": 1}))
    assert all(np.array_equal(student[key], only[key]) for key in only)


def test_a_schedule_over_rounds_reaches_the_baselines(small_config: Small) -> None:
    """Nothing is learnt in the second of two rounds."""
    config = small_config(training={"round_schedule": f"{__name__}:half_rate"})
    baselines = train_baselines(config, open_workspace(config), lambda *_: None)
    for curve in (baselines.local_only_history, baselines.centralised_history):
        assert curve[0] == curve[1]


def test_augmentations_change_what_clients_train_on(small_config: Small) -> None:
    """One that returns what it is given changes no byte of the student; one that inverts the images does."""
    _, plain = rounds_and_student(small_config())
    _, same = rounds_and_student(small_config(training={"augmentation": [f"{__name__}:unchanged"]}))
    _, other = rounds_and_student(small_config(training={"augmentation": [f"{__name__}:inverted"]}))
    assert all(np.array_equal(plain[key], same[key]) for key in plain)
    assert not all(np.array_equal(plain[key], other[key]) for key in plain)


def test_a_partition_by_a_function_is_that_of_the_run(small_config: Small) -> None:
    """Each client holds the classes whose remainder is its number."""
    config = small_config(data={"partition": {"kind": f"{__name__}:by_remainder"}})
    for client in range(4):
        _, labels_N = open_workspace(config).client(client)
        assert set((labels_N % 4).tolist()) == {client}


def test_a_configuration_with_parts_is_read_back_as_it_was_written(small_config: Small) -> None:
    config = small_config(
        training={"optimizer": {"name": "adam", "betas": [0.8, 0.9]}, "terms": [{"name": "proximal", "mu": 0.1}]}
    )
    assert parse_config(config.model_dump(mode="json")) == config
    assert config.model_dump(mode="json")["student"]["optimizer"] == "adam"
