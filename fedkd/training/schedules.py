"""Schedules of the learning rate: over the steps of one call, and over the rounds of a federation.

A registered schedule is a function of the share that is done, from 0 to 1, to a factor of the learning rate. It serves
both purposes: before step s of S, counted from 0, the share is s / S; in round r of R, counted from 1, (r − 1) / R.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from fedkd.errors import ConfigError
from fedkd.parts import PartConfig, bind_part, call_part, checked_by_binding

Share = Annotated[float, Field(ge=0, le=1)]

Schedule = Callable[[Optimizer, int], LRScheduler]
"""(optimiser, number of its steps) -> a scheduler of torch, which steps after each of them."""

RoundSchedule = Callable[[int, int], float]
"""(round from 1, number of rounds) -> factor of the learning rate in that round, at least 0."""


def constant(done: float) -> float:
    """1 all the time."""
    del done
    return 1.0


def cosine(done: float, *, final: Share = 0.0) -> float:
    """Half a period of a cosine, from 1 to `final` (Loshchilov and Hutter 2017, "SGDR", eq. 5, without restarts)."""
    return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2


def linear(done: float, *, final: Share = 0.0) -> float:
    """A straight line from 1 to `final`."""
    return 1 + (final - 1) * done


def step(done: float, *, milestones: tuple[Share, ...] = (0.5, 0.75), gamma: Share = 0.1) -> float:
    """`gamma` to the power of the number of milestones reached, each the share after which the rate falls."""
    return float(gamma ** sum(done >= milestone for milestone in milestones))


SCHEDULES: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {"constant": constant, "cosine": cosine, "linear": linear, "step": step}
)


def bind_schedule(part: PartConfig, key: str) -> Schedule:
    """Return the schedule over the steps of one call that a configuration names.

    Raises:
        ConfigError: no such schedule, or an argument that it does not take. What it returns raises one, too, where
            the function behind an import path fails or returns no `LRScheduler`.
    """
    if part.name not in SCHEDULES:
        made: Callable[..., LRScheduler] = bind_part(part, SCHEDULES, key, positional=2)
        return call_part(made, part, key, LRScheduler)
    factor = bind_part(part, SCHEDULES, key, positional=1)
    return lambda optimizer, num_steps: LambdaLR(optimizer, lambda done: factor(done / num_steps))


def bind_round_schedule(part: PartConfig, key: str) -> RoundSchedule:
    """Return the schedule over rounds that a configuration names.

    Raises:
        ConfigError: no such schedule, or an argument that it does not take.
    """
    if part.name not in SCHEDULES:
        return bind_part(part, SCHEDULES, key, positional=2)
    factor = bind_part(part, SCHEDULES, key, positional=1)
    return lambda server_round, num_rounds: factor((server_round - 1) / num_rounds)


SchedulePart = Annotated[PartConfig, checked_by_binding(bind_schedule)]
RoundSchedulePart = Annotated[PartConfig, checked_by_binding(bind_round_schedule)]


def make_schedule(part: PartConfig, optimizer: Optimizer, num_steps: int) -> LRScheduler | None:
    """Make the schedule of an optimiser's next steps; `None` for the constant one, which has nothing to do.

    Raises:
        ConfigError: the function behind an import path fails, or returns no `LRScheduler`.
    """
    return None if part.name == "constant" else bind_schedule(part, "schedule")(optimizer, max(num_steps, 1))


def round_factor(part: PartConfig, server_round: int, num_rounds: int) -> float:
    """Return the factor of the learning rate in round `server_round` of `num_rounds`.

    Raises:
        ConfigError: a schedule that returns something else than a finite number of at least 0.
    """
    factor = bind_round_schedule(part, "round_schedule")(server_round, num_rounds)
    if not isinstance(factor, (int, float)) or not 0 <= factor < math.inf:
        allowed = f"a factor of at least 0; round {server_round} of {num_rounds} has {factor!r}"
        raise ConfigError("round_schedule", part.name, allowed)
    return factor
