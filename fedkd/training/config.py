"""The `[training]` section and the optimiser keys it shares with every other section that trains."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from fedkd.losses.local import LOCAL_LOSSES, SECTION_KEYS, LocalLossPart
from fedkd.parts import PartConfig
from fedkd.training.augmentation import AugmentationPart
from fedkd.training.local_terms import LocalTermPart
from fedkd.training.optimizers import OptimizerPart, has_weight_decay
from fedkd.training.schedules import RoundSchedulePart, SchedulePart
from fedkd.types import Section


class OptimizerSection(Section):
    """Keys of anything that trains: epochs, batches, optimiser, learning rate."""

    epochs: int = Field(1, ge=0, description="passes over the samples")
    batch_size: int = Field(32, ge=1, description="samples per step; a last batch of one joins the batch before it")
    optimizer: OptimizerPart = Field(PartConfig(name="sgd"), description="sgd, adam, adamw, or package.module:factory")
    learning_rate: float = Field(0.01, gt=0, description="step size")
    schedule: SchedulePart = Field(
        PartConfig(name="constant"),
        description="of the learning rate over the steps of a round: constant, cosine, linear, step, or "
        "package.module:function",
    )
    round_schedule: RoundSchedulePart = Field(
        PartConfig(name="constant"),
        description="of the learning rate over the rounds: constant, cosine, linear, step, or package.module:function",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of sgd; other optimisers have their own")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty (decoupled with adamw)")
    max_grad_norm: float = Field(0.0, ge=0, description="clip the gradient's L2 norm to this; 0 leaves it alone")

    @model_validator(mode="after")
    def _decays(self) -> Self:
        if self.weight_decay and not has_weight_decay(self.optimizer):
            raise ValueError(
                f"weight_decay = {self.weight_decay}: 0 with optimizer {self.optimizer.name!r}, which has none"
            )
        return self


class TrainingConfig(OptimizerSection):
    """How each client trains on its private samples in each round."""

    epochs: int = Field(2, ge=0, description="local epochs a round")
    loss: LocalLossPart = Field(
        PartConfig(name="cross_entropy"), description="cross_entropy, or package.module:function"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of each label spread over all classes")
    logit_adjustment: bool = Field(
        False, description="train cross-entropy on z + log(local class prior); nothing about the prior leaves"
    )
    logit_adjustment_eps: float = Field(0.01, gt=0, description="added to each class's share before the logarithm")
    augmentation: tuple[AugmentationPart, ...] = Field(
        (), strict=False, description="of private samples only, in this order: crop, flip, or package.module:function"
    )
    terms: tuple[LocalTermPart, ...] = Field(
        (), strict=False, description="terms added to the loss: proximal, or package.module:class"
    )

    @model_validator(mode="after")
    def _keys_of_the_loss(self) -> Self:
        for key in SECTION_KEYS:
            default = TrainingConfig.model_fields[key].default
            if self.loss.name not in LOCAL_LOSSES and getattr(self, key) != default:
                raise ValueError(
                    f"{key} = {getattr(self, key)}: {default} with loss {self.loss.name!r}; it is for "
                    f"{', '.join(LOCAL_LOSSES)}"
                )
        return self
