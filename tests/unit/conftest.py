"""A run as it might have been, made from a seed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fedkd.records import (
    Baselines,
    ClientScores,
    Confusion,
    Distillation,
    PartitionRecord,
    Refusal,
    RoundRecord,
    RunRecord,
    Seconds,
    StudentScore,
    TeacherScore,
    Traffic,
)

DIGITS = tuple("0123456789")


def sample_round(server_round: int, **changes: object) -> RoundRecord:
    """One round of eight clients whose accuracies climb with `server_round`."""
    climb = 1 - 0.7**server_round
    fields: dict[str, object] = {
        "server_round": server_round,
        "completed": True,
        "selected": tuple(range(8)),
        "replied": tuple(range(7)) if server_round == 3 else tuple(range(8)),
        "dropped": (7,) if server_round == 3 else (),
        "late": (2, 5) if server_round == 4 else (),
        "refused": (Refusal(client=1, reason="not_finite", detail="logits hold NaN; finite values are expected"),)
        if server_round == 2
        else (),
        "student": StudentScore(accuracy=0.2 + 0.62 * climb, loss=2.3 - 1.6 * climb),
        "ensemble_teacher": TeacherScore(accuracy=0.25 + 0.62 * climb),
        "clients": ClientScores(mean_accuracy=0.3 + 0.4 * climb, worst_accuracy=0.12 + 0.42 * climb),
        "distillation": Distillation(epochs=5, first_loss=1.9, last_loss=0.4, agreement=0.8 + 0.1 * climb),
        "agreement": 0.7 + 0.2 * climb,
        "bytes": Traffic(up=1_600_000, down=400_000 + 1000 * server_round),
        "seconds": Seconds(
            total=4.2,
            local_training=8.0 + 0.1 * server_round,
            public_inference=1.1,
            aggregation=0.2,
            distillation=1.5,
            evaluation=0.9,
        ),
    }
    return RoundRecord.model_validate(fields | changes)


def sample_confusion(num_classes: int = 10) -> Confusion:
    def counts(right: int, wrong: int) -> tuple[tuple[int, ...], ...]:
        after = {index: (index + 1) % num_classes for index in range(num_classes)}
        return tuple(
            tuple(right if column == row else wrong if column == after[row] else 0 for column in range(num_classes))
            for row in range(num_classes)
        )

    return Confusion(student=counts(30, 6), ensemble_teacher=counts(32, 4), student_teacher=counts(31, 5))


def sample_run(num_rounds: int = 10, **changes: object) -> RunRecord:
    history = tuple(sample_round(server_round) for server_round in range(1, num_rounds + 1))
    if history:
        history = (*history[:-1], history[-1].model_copy(update={"confusion": sample_confusion()}))
    climb = [1 - 0.6**server_round for server_round in range(1, num_rounds + 1)]
    fields: dict[str, object] = {
        "run_dir": "runs/fkd-digits-s0-20260131-142530-1a2b3c",
        "method": "fkd",
        "seed": 0,
        "rounds": num_rounds,
        "student": StudentScore(accuracy=0.8025, loss=0.7452),
        "ensemble_teacher": TeacherScore(accuracy=0.8525),
        "clients": ClientScores(mean_accuracy=0.6887, worst_accuracy=0.5281),
        "baselines": Baselines(
            local_only=0.6512,
            centralised=0.9533,
            local_only_history=tuple(0.2 + 0.45 * value for value in climb),
            centralised_history=tuple(0.3 + 0.65 * value for value in climb),
        ),
        "bytes": Traffic(up=16_000_000, down=4_055_000),
        "seconds": Seconds(
            total=42.0,
            local_training=85.5,
            public_inference=11.0,
            aggregation=2.0,
            distillation=15.0,
            evaluation=9.0,
        ),
        "history": history,
    }
    return RunRecord.model_validate(fields | changes)


def sample_partition(num_clients: int = 8, class_names: tuple[str, ...] = DIGITS) -> PartitionRecord:
    shares = np.random.default_rng(0).dirichlet([0.3] * num_clients, size=len(class_names)).T
    counts = np.floor(shares * 140).astype(int)
    return PartitionRecord(
        class_names=class_names,
        counts=tuple(tuple(int(count) for count in row) for row in counts),
        skew={"mean_total_variation": 0.5214, "effective_classes": 3.81, "size_ratio": 6.25},
        description=f"Dirichlet label skew over {num_clients} clients, dirichlet_alpha = 0.3, seed 0.",
    )


@pytest.fixture(scope="session")
def make_round() -> Callable[..., RoundRecord]:
    return sample_round


@pytest.fixture(scope="session")
def make_run() -> Callable[..., RunRecord]:
    return sample_run


@pytest.fixture(scope="session")
def make_partition() -> Callable[..., PartitionRecord]:
    return sample_partition


@pytest.fixture(scope="session")
def config() -> dict[str, object]:
    """A resolved configuration, with keys that have no value."""
    return {
        "method": "fkd",
        "seed": 0,
        "rounds": 10,
        "resume": None,
        "data": {"source": "digits", "num_clients": 8, "partition": {"dirichlet_alpha": 0.3, "min_size": None}},
        "distillation": {"temperature": 3.0, "alpha": 0.9, "epochs": 5},
        "models": [{"name": "mlp", "width": 64, "checkpoint": None}, {"name": "cnn", "width": 16}],
    }


@pytest.fixture(scope="session")
def environment() -> dict[str, object]:
    return {
        "versions": {"fedkd": "0.1.0", "python": "3.11.7", "torch": "2.14.1"},
        "seed": 0,
        "public_digest": "5f2a" * 16,
        "started": "2026-01-31T14:25:30+00:00",
    }
