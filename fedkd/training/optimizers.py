"""Optimisers by name, or by the import path of a factory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from fedkd.errors import ConfigError
from fedkd.parts import PartConfig, bind_part, call_part, checked_by_binding

if TYPE_CHECKING:
    from fedkd.training.config import OptimizerSection

OptimizerFactory = Callable[..., Optimizer]
"""(parameters, *, lr, weight_decay, **arguments) -> optimiser; one without weight decay takes no `weight_decay`."""

OPTIMIZERS: Mapping[str, OptimizerFactory] = MappingProxyType({"sgd": SGD, "adam": Adam, "adamw": AdamW})


def bind_optimizer(part: PartConfig, key: str) -> OptimizerFactory:
    """Return the factory of an optimiser; it still takes the parameters, and the keys of the section by keyword.

    Raises:
        ConfigError: no such optimiser, or an argument that it does not take.
    """
    return bind_part(part, OPTIMIZERS, key, positional=1, keywords=("lr", "weight_decay", *_momentum(part)))


OptimizerPart = Annotated[PartConfig, checked_by_binding(bind_optimizer)]
"""The type of a key that names an optimiser."""


def has_weight_decay(part: PartConfig) -> bool:
    """Whether the factory of an optimiser takes `weight_decay`."""
    parameters = inspect.signature(bind_optimizer(part, "optimizer")).parameters.values()
    return any(p.name == "weight_decay" or p.kind is p.VAR_KEYWORD for p in parameters)


def make_optimizer(parameters: Iterator[nn.Parameter], config: OptimizerSection, factor: float = 1.0) -> Optimizer:
    """Make the optimiser that a section names.

    Args:
        parameters: what it changes.
        config: its name and arguments, learning rate, weight decay, and the momentum of `sgd`.
        factor: of the learning rate, as the schedule over rounds has it.

    Raises:
        ConfigError: a factory that fails, or returns no optimiser, or one whose step needs a closure.
    """
    part = config.optimizer
    values = {"lr": config.learning_rate * factor, **dict.fromkeys(_momentum(part), config.momentum)}
    if has_weight_decay(part):
        values["weight_decay"] = config.weight_decay
    made = call_part(bind_optimizer(part, "optimizer"), part, "optimizer", Optimizer)(parameters, **values)
    closure = inspect.signature(made.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ConfigError(
            "optimizer", part.name, "an optimiser whose step needs no closure: a batch is seen once a step"
        )
    return made


def _momentum(part: PartConfig) -> tuple[str, ...]:
    """The key `momentum` is for the registered `sgd` alone."""
    return ("momentum",) if part.name == "sgd" else ()
