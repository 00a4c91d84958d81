"""What a model that learns from a teacher minimises, as one section of a configuration.

    (1 − alpha)·CE(student, labels) + alpha·soft loss(student, teacher, T) + Σ weight·term

The student has one (`[student.objective]`), and so have clients that learn from soft labels
(`[method.local_distillation.objective]`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from pydantic import Field, field_validator
from torch import Tensor

from fedkd.errors import ConfigError, FedkdError, nearest
from fedkd.losses.kd import DISTANCES, DIVERGENCES, SOFT_LOSSES, SoftLoss
from fedkd.losses.relational import RELATIONS
from fedkd.types import Section, import_from_path, is_import_path


class RelationConfig(Section):
    """A further loss: relations between samples in the student, against those in the teacher's logits.

    Of a teacher that is an ensemble there is nothing else to compare with: it has answers, and no layers.
    """

    loss: str = Field(description="similarity, distance or angle")
    student: str = Field("", description="name of the student's module; empty: its logits")
    weight: float = Field(1.0, ge=0, description="factor of the loss")

    @field_validator("loss")
    @classmethod
    def _of_logits(cls, loss: str) -> str:
        if loss not in RELATIONS:
            known = f"one of {', '.join(RELATIONS)}"
            needs = _NEEDED_OF_A_TEACHER.get(loss)
            reason = "" if needs is None else f": {loss} needs {needs}, and an ensemble teacher has logits only"
            raise ValueError(known + reason)
        return loss


_NEEDED_OF_A_TEACHER = {
    "hint": "a layer of the teacher",
    "attention": "maps of the teacher",
    "geometry": "several outputs of the teacher",
    "hidden_states": "hidden states of the teacher",
    "attention_matrices": "attention of the teacher",
}


class ObjectiveConfig(Section):
    """What a model minimises when it learns from a teacher."""

    loss: str = Field("kl", description="soft loss: kl, reverse_kl, js, l1, mse, or package.module:function")
    temperature: float = Field(1.0, gt=0, description="T of the soft loss")
    alpha: float = Field(1.0, ge=0, le=1, description="weight of the soft loss; below 1 needs a labelled public set")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of a hard label spread over all classes")
    terms: tuple[RelationConfig, ...] = Field(
        (), strict=False, description="further losses on relations to the teacher's logits, each a table"
    )

    @field_validator("loss")
    @classmethod
    def _named(cls, loss: str) -> str:
        if loss not in SOFT_LOSSES and not is_import_path(loss):
            raise ValueError(f"one of {', '.join(SOFT_LOSSES)}, or package.module:function{nearest(loss, SOFT_LOSSES)}")
        return loss

    @property
    def has_temperature(self) -> bool:
        """Whether the soft loss depends on T, as a divergence does and a function of one's own may."""
        return self.loss not in DISTANCES

    def at(self, temperature: float, alpha: float) -> Self:
        """The same objective with another T and alpha; T stays where the soft loss has none."""
        values = {"alpha": alpha} | ({"temperature": temperature} if self.has_temperature else {})
        return self.model_copy(update=values)

    def soft_loss(self) -> SoftLoss:
        """The function that `loss` names.

        A function of one's own takes the student's logits [N, C], what the teacher says of these samples [N, D] with
        D at least C, of which the first C are logits, and T; it returns a scalar tensor, the mean over the batch.

        Raises:
            ConfigError: the import path leads to nothing that can be called. The returned function raises it where it
                is given anything but a scalar tensor.
        """
        return SOFT_LOSSES[self.loss] if self.loss in SOFT_LOSSES else _imported(self.loss)


def _imported(path: str) -> SoftLoss:
    """Import a user's loss. Importing runs any code: what it raises becomes a `ConfigError` with its cause."""
    try:
        function: Callable[..., Any] = import_from_path(path, lambda said: ConfigError("objective.loss", path, said))
    except FedkdError:
        raise
    except Exception as cause:
        allowed = f"a module that imports ({type(cause).__name__}: {cause})"
        raise ConfigError("objective.loss", path, allowed) from cause
    if not callable(function):
        raise ConfigError("objective.loss", path, f"a function; this is a {type(function).__name__}")

    def soft_loss(student_logits_NC: Tensor, teacher_values_ND: Tensor, temperature: float) -> Tensor:
        loss = function(student_logits_NC, teacher_values_ND, temperature)
        if not isinstance(loss, Tensor) or loss.ndim:
            shape = f" of shape {list(loss.shape)}" if isinstance(loss, Tensor) else ""
            returned = type(loss).__name__ + shape
            raise ConfigError(
                "objective.loss", path, f"a function that returns a scalar tensor; this returns {returned}"
            )
        return loss

    return soft_loss


def check_hard_loss(key: str, objective: ObjectiveConfig, *, labelled: bool) -> None:
    """Refuse a hard loss without labels, and smoothed labels without a hard loss.

    Args:
        key: dotted path of the section.
        objective: the section.
        labelled: whether the public set has labels.

    Raises:
        ConfigError: names alpha or label_smoothing.
    """
    if objective.alpha < 1 and not labelled:
        raise ConfigError(
            f"{key}.alpha",
            objective.alpha,
            "must be 1 with an unlabelled public set (there is nothing for the hard loss); "
            "or set data.public.labelled = true",
        )
    if objective.label_smoothing > 0 and objective.alpha == 1:
        allowed = f"0 with {key}.alpha = 1, which has no hard loss"
        raise ConfigError(f"{key}.label_smoothing", objective.label_smoothing, allowed)


def check_temperature(key: str, objective: ObjectiveConfig) -> None:
    """Refuse a temperature beside a soft loss that has none.

    Args:
        key: dotted path of the section.
        objective: the section.

    Raises:
        ConfigError: names the temperature.
    """
    if objective.temperature != 1 and not objective.has_temperature:
        raise ConfigError(
            f"{key}.temperature",
            objective.temperature,
            f"1 with {key}.loss = {objective.loss!r}, which has no temperature; or one of {', '.join(DIVERGENCES)}",
        )


def check_soft_loss(key: str, objective: ObjectiveConfig, distribution: str) -> None:
    """Refuse a distance of logits where the teacher is a distribution, whose logits are log-probabilities.

    Args:
        key: dotted path of the section.
        objective: the section.
        distribution: what makes the teacher a distribution, as `key = value`; empty where it is not one.

    Raises:
        ConfigError: names the loss, and what makes the teacher a distribution.
    """
    if distribution and objective.loss in DISTANCES:
        allowed = f"one of {', '.join(DIVERGENCES)} with {distribution}, whose teacher is probabilities"
        raise ConfigError(f"{key}.loss", objective.loss, allowed)


def check_relations(key: str, objective: ObjectiveConfig, distribution: str) -> None:
    """Refuse relations between the teacher's logits where the teacher is a distribution, as `check_soft_loss` does.

    Raises:
        ConfigError: names the terms, and what makes the teacher a distribution.
    """
    if distribution and objective.terms:
        given = [term.loss for term in objective.terms]
        raise ConfigError(f"{key}.terms", given, f"none with {distribution}, whose teacher is probabilities")
