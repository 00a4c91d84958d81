"""What a masked round's sum says is what a plain round's answers say, to within the resolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import entr, log_softmax, logsumexp, softmax

from fedkd.config.experiment import ExperimentConfig
from fedkd.federation.workspace import open_workspace

Make = Callable[..., ExperimentConfig]
MASKED = {"enabled": True, "minimum_cohort": 2, "value_bits": 20}
NUM_PUBLIC, NUM_TEST = 24, 40


def scripted_logits(client: int, num_samples: int, scale: float = 2.0) -> np.ndarray:
    return np.random.default_rng(client).normal(scale=scale, size=(num_samples, 10)).astype(np.float32)


def scripted(client: int, logits_NC: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(scripted_logits(client, len(logits_NC)))


def confidence_weighted(logits_KNC: np.ndarray) -> np.ndarray:
    """Σ w·z / Σ w with w = (1 − H/log C + 0.001) / 1.001."""
    entropy_KN = entr(softmax(logits_KNC.astype(np.float64), axis=2)).sum(axis=2)
    return np.average(
        logits_KNC,
        axis=0,
        weights=np.broadcast_to((1 - entropy_KN / np.log(10) + 1e-3)[..., None], logits_KNC.shape),
    )


def mean_probabilities(logits_KNC: np.ndarray) -> np.ndarray:
    return logsumexp(log_softmax(logits_KNC.astype(np.float64), axis=2), axis=0) - np.log(len(logits_KNC))


@pytest.mark.parametrize(
    ("aggregator", "rule", "tolerance"),
    [
        ("mean_logits", lambda logits_KNC: logits_KNC.mean(axis=0), 2e-4),
        ("mean_probabilities", mean_probabilities, 0.05),
        ("confidence_weighted", confidence_weighted, 2e-3),
    ],
)
def test_the_teacher_of_a_sum_is_the_mean_of_the_answers(
    make_config: Make, federate: Any, payloads: Any, aggregator: str, rule: Any, tolerance: float
) -> None:
    """A level is 6e-5 of the logits' range; log-probabilities are coarser where small, weights have 16 bits here."""
    config = make_config(
        run={"rounds": 2},
        method={"name": "fedmd", "aggregator": aggregator, "local_distillation": {"objective": {"loss": "kl"}}},
        secure_aggregation=MASKED | {"ring_bits": 64, "weight_bits": 16},
    )
    _, teacher_NC = payloads.teacher(federate(config, answer=scripted).grid.asked(2)[0])
    logits_KNC = np.stack([scripted_logits(client, NUM_PUBLIC) for client in range(4)])
    np.testing.assert_allclose(teacher_NC, rule(logits_KNC), atol=tolerance)


def test_samples_of_which_no_client_is_sure_still_have_a_teacher(
    make_config: Make, federate: Any, payloads: Any
) -> None:
    """Confidences of a thousandth would mostly be rounded to a weight of 0; a sample without weight has no mean.

    Logits within ±0.001 say nothing of a class; their mean is known to within the range.
    """

    def unsure(client: int, logits_NC: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(scripted_logits(client, len(logits_NC), scale=1e-3))

    config = make_config(
        run={"rounds": 2},
        method={"name": "fedmd", "aggregator": "confidence_weighted"},
        secure_aggregation=MASKED,
    )
    result, grid = federate(config, answer=unsure)
    assert [record.completed for record in result.history] == [True, True]
    indices_N, teacher_NC = payloads.teacher(grid.asked(2)[0])
    np.testing.assert_array_equal(indices_N, np.arange(NUM_PUBLIC))
    mean_NC = np.mean([scripted_logits(client, NUM_PUBLIC, scale=1e-3) for client in range(4)], axis=0)
    np.testing.assert_allclose(teacher_NC, mean_NC, atol=1e-3)


@pytest.mark.parametrize("aggregator", ["mean_logits", "confidence_weighted"])
def test_public_samples_and_test_split_do_not_mix(make_config: Make, federate: Any, aggregator: str) -> None:
    """All are right on the test split, and say class 0 on every public sample."""
    config = make_config(method={"aggregator": aggregator}, secure_aggregation=MASKED)
    labels_N = open_workspace(config).data.test.labels_N

    def answer(client: int, logits_NC: torch.Tensor) -> torch.Tensor:
        choices_N = labels_N if len(logits_NC) == NUM_TEST else np.zeros(len(logits_NC), int)
        return torch.from_numpy(np.eye(10, dtype=np.float32)[choices_N] * 9)

    (record,) = federate(config, answer=answer).result.history
    assert record.ensemble_teacher.accuracy == 1.0
    assert record.clients.mean_accuracy == 1.0


def test_robust_rules_see_the_means_of_groups(make_config: Make, federate: Any, payloads: Any) -> None:
    """Nine clients in three groups; the teacher is the median of the groups' means, on the test split as well.

    On the test split clients lean to the right class, so that groups differ in how often they are right.
    """
    config = make_config(
        run={"rounds": 2},
        clients={"number": 9},
        data={"train_size": 180},
        method={"name": "fedmd", "aggregator": "median_logits"},
        secure_aggregation={"enabled": True, "group_size": 3, "value_bits": 20},
    )
    labels_N = open_workspace(config).data.test.labels_N

    def logits(client: int, num_samples: int) -> np.ndarray:
        lean_NC = 2 * np.eye(10, dtype=np.float32)[labels_N] if num_samples == NUM_TEST else np.float32(0)
        return scripted_logits(client, num_samples) + lean_NC

    def accuracy(logits_NC: np.ndarray) -> float:
        return float((logits_NC.argmax(axis=1) == labels_N).mean())

    result, grid = federate(config, answer=lambda client, logits_NC: torch.from_numpy(logits(client, len(logits_NC))))
    record, groups = result.history[0], result.history[0].secure_sum.groups
    assert sorted(client for group in groups for client in group) == list(record.replied) == list(range(9))
    public, test = (
        [np.mean([logits(client, number) for client in group], axis=0) for group in groups]
        for number in (NUM_PUBLIC, NUM_TEST)
    )
    _, teacher_NC = payloads.teacher(grid.asked(2)[0])
    np.testing.assert_allclose(teacher_NC, np.median(public, axis=0), atol=2e-4)
    assert record.ensemble_teacher.accuracy == accuracy(np.median(test, axis=0))
    assert record.ensemble_teacher.accuracy not in {accuracy(mean_NC) for mean_NC in test}
    own = [accuracy(logits(client, NUM_TEST)) for client in range(9)]
    assert record.clients.mean_accuracy == pytest.approx(np.mean(own))


def test_the_resolution_is_the_width_of_a_level(make_config: Make, federate: Any) -> None:
    config = make_config(payload={"clipping_range": 7.0}, secure_aggregation=MASKED | {"value_bits": 10})
    (record,) = federate(config).result.history
    assert record.secure_sum.resolution == pytest.approx(14 / 1023)
