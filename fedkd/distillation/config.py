"""The `[student]` section, and what it shares with a client that learns from soft labels."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from fedkd.distillation.objective import ObjectiveConfig
from fedkd.models.config import ModelName
from fedkd.parts import PartConfig
from fedkd.training.config import OptimizerSection
from fedkd.training.optimizers import OptimizerPart
from fedkd.types import Section


class DistillationConfig(OptimizerSection):
    """How a model learns from a teacher."""

    epochs: int = Field(5, ge=0, description="passes over the public samples of the round")
    batch_size: int = Field(64, ge=1, description="public samples per step")
    optimizer: OptimizerPart = Field(PartConfig(name="adam"), description="sgd, adam, adamw, or package.module:factory")
    learning_rate: float = Field(0.001, gt=0, description="step size")
    objective: ObjectiveConfig = Field(ObjectiveConfig(), description="what the model minimises")
    holdout_fraction: float = Field(
        0.0, ge=0, lt=1, description="share of the public samples held out to watch the distillation"
    )
    patience: int = Field(
        0, ge=0, description="stop after this many epochs without a better held-out loss, keep the best; 0: never"
    )


class TemperatureSelectionConfig(Section):
    """Whether the server chooses T, and alpha, by validation on public samples that no trial learns from."""

    grid: tuple[float, ...] = Field(
        (), strict=False, description="temperatures to try; empty: student.objective.temperature"
    )
    alphas: tuple[float, ...] = Field(
        (), strict=False, description="weights of the soft loss to try with each; empty: student.objective.alpha"
    )
    every: int = Field(0, ge=0, description="choose in every so many rounds; 0: in the first, and keep it")
    holdout_fraction: float = Field(
        0.2, gt=0, lt=1, description="share of the round's public samples that trials are measured on"
    )

    @field_validator("grid")
    @classmethod
    def _temperatures(cls, grid: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(grid)) < len(grid) or not all(temperature > 0 for temperature in grid):
            raise ValueError("temperatures above 0, each once")
        return grid

    @field_validator("alphas")
    @classmethod
    def _weights(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(alphas)) < len(alphas) or not all(0 <= alpha <= 1 for alpha in alphas):
            raise ValueError("weights from 0 to 1, each once")
        return alphas

    def chooses(self, server_round: int, *, chosen_before: bool) -> bool:
        """Whether there is a choice to make in a round."""
        due = server_round % self.every == 0 if self.every else not chosen_before
        return bool(self.grid) and due

    def num_held_out(self, num_public: int) -> int:
        """Of the public samples of a round, how many trials are measured on."""
        return round(num_public * self.holdout_fraction)


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
    temperature_selection: TemperatureSelectionConfig = Field(
        TemperatureSelectionConfig(), description="whether and how the server chooses T by validation"
    )
