"""A student, and scikit-learn's digits with a teacher that was trained on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from fedkd.distillation import PublicBatch
from fedkd.seeding import isolated_torch_rng
from fedkd.training.config import TrainingConfig
from fedkd.training.evaluation import predict_logits
from fedkd.training.loop import train_supervised

MakeStudent = Callable[..., nn.Module]
SameBits = Callable[[nn.Module, nn.Module], bool]


class Digits(NamedTuple):
    """1,000 public digits with the teacher's answers and true classes, and 400 digits nobody learnt from."""

    public: PublicBatch
    test_images_NCHW: Tensor
    test_labels_N: np.ndarray
    test_teacher_NC: np.ndarray


@pytest.fixture(scope="session")
def make_student() -> MakeStudent:
    """Factory of equal students with batch normalisation and, if asked for, dropout."""

    def make(dropout: float = 0.0) -> nn.Module:
        with isolated_torch_rng(1):
            return nn.Sequential(
                nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, 10)
            )

    return make


@pytest.fixture(scope="session")
def same_bits() -> SameBits:
    """Whether two models hold the same bits, buffers included."""

    def compare(first: nn.Module, second: nn.Module) -> bool:
        left, right = first.state_dict(), second.state_dict()
        return all(torch.equal(left[key], right[key]) for key in left)

    return compare


@pytest.fixture(scope="session")
def digits() -> Digits:
    """scikit-learn's digits and their teacher."""
    images, labels = load_digits(return_X_y=True)
    images_NCHW = torch.from_numpy(images / 16).float().reshape(-1, 1, 8, 8)
    labels_N = torch.from_numpy(labels).long()
    with isolated_torch_rng(0):
        teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    config = TrainingConfig(epochs=15, optimizer="adam", learning_rate=0.005)
    train_supervised(teacher, images_NCHW[:397], labels_N[:397], config, num_classes=10, seed=0)
    public_NCHW, test_NCHW = images_NCHW[397:1397], images_NCHW[1397:]
    return Digits(
        PublicBatch(public_NCHW, torch.from_numpy(predict_logits(teacher, public_NCHW)), labels_N[397:1397]),
        test_NCHW,
        labels_N[1397:].numpy(),
        predict_logits(teacher, test_NCHW),
    )


@pytest.fixture
def small(digits: Digits) -> PublicBatch:
    """The first 200 public digits."""
    return digits.public.take(torch.arange(200))
