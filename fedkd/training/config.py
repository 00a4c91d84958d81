"""The `[training]` section and the optimiser keys it shares with every other section that trains."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from fedkd.types import Section


class OptimizerSection(Section):
    """Keys of anything that trains: epochs, batches, optimiser."""

    epochs: int = Field(1, ge=0, description="passes over the samples")
    batch_size: int = Field(32, ge=1, description="samples per step; a last batch of one joins the batch before it")
    optimizer: Literal["sgd", "adam", "adamw"] = Field("sgd", description="which optimiser")
    learning_rate: float = Field(0.01, gt=0, description="step size")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd; adam and adamw have their own")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty (decoupled with adamw)")
    max_grad_norm: float = Field(0.0, ge=0, description="clip the gradient's L2 norm to this; 0 leaves it alone")


class TrainingConfig(OptimizerSection):
    """How each client trains on its private samples in each round."""

    epochs: int = Field(2, ge=0, description="local epochs a round")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label spread over all classes")
    logit_adjustment: bool = Field(
        False, description="train cross-entropy on z + log(local class prior); nothing about the prior leaves"
    )
    logit_adjustment_eps: float = Field(0.01, gt=0, description="added to each class's share before the logarithm")
