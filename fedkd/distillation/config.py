"""The `[student]` section, and what it shares with a client that digests a consensus."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedkd.losses.kd import SoftLossName
from fedkd.models.config import ModelName
from fedkd.training.config import OptimizerSection


class DistillationConfig(OptimizerSection):
    """How a model learns from a teacher."""

    epochs: int = Field(5, ge=0, description="passes over the public samples of the round")
    batch_size: int = Field(64, ge=1, description="public samples per step")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("adam", description="which optimiser")
    learning_rate: float = Field(0.001, gt=0, description="step size")
    loss: SoftLossName = Field("kl", description="soft loss: a divergence of distributions, or a distance of logits")


class StudentConfig(DistillationConfig):
    """The global student, and how the server distils it in each round."""

    model: ModelName = Field("cnn", description="registered model, or package.module:factory")
    shards: int = Field(
        1,
        ge=1,
        le=64,
        description="parts of a batch whose gradients are computed apart, in parallel where there are workers",
    )
    optimizer_state: Literal["fresh", "kept"] = Field("fresh", description="the optimiser's moments between rounds")
    holdout_fraction: float = Field(
        0.0, ge=0, lt=1, description="share of the round's public samples held out to watch the distillation"
    )
    patience: int = Field(
        0, ge=0, description="stop after this many epochs without a better held-out loss, keep the best; 0: never"
    )
