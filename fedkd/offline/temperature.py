"""The temperature at which a student learns best: from a federation's ensemble teacher, or from one `[teacher]`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fedkd.config.errors import read_toml
from fedkd.config.experiment import apply_override, parse_config
from fedkd.distillation import TemperatureSelectionConfig
from fedkd.distillation.executor import LocalExecutor
from fedkd.distillation.temperature import Setting, choose_setting, settings_of
from fedkd.engines.temperature_search import choose_temperature, grid_of, with_grid
from fedkd.errors import ConfigError
from fedkd.federation.observers import Observer
from fedkd.losses.kd import DIVERGENCES
from fedkd.offline.config import OfflineConfig, parse_offline
from fedkd.offline.run import open_offline
from fedkd.records import TemperatureChoice
from fedkd.seeding import torch_rng
from fedkd.training.evaluation import predict_logits
from fedkd.types import FloatArray


def find_temperature(
    path: Path, overrides: Iterable[str] = (), grid: str | None = None, observer: Observer | None = None
) -> TemperatureChoice:
    """Train the teachers that a TOML file describes, and choose between students of them.

    Args:
        path: an experiment, or an offline distillation: that one has a `[teacher]`.
        overrides: `section.key=value`.
        grid: temperatures with commas between; `None` for those of the experiment, or the usual ones.
        observer: told how the federation goes on.

    Raises:
        ConfigError: the file, an override or the grid.
        RoundError: a distillation diverged, or the federation's last round was not completed.
    """
    values: dict[str, Any] = read_toml(path)
    for override in overrides:
        apply_override(values, override)
    if "teacher" in values:
        return choose_offline(parse_offline(values), grid_of(grid))
    return choose_temperature(with_grid(parse_config(values), grid), observer)


def choose_offline(
    config: OfflineConfig,
    grid: Sequence[float],
    holdout_fraction: float = TemperatureSelectionConfig().holdout_fraction,
) -> TemperatureChoice:
    """Train the teacher of an offline distillation, and choose by public samples that no student learns from.

    Args:
        config: the distillation; its alpha stays, and its public labels are used where they are known.
        grid: temperatures to try.
        holdout_fraction: share of the public samples that students are measured on.

    Raises:
        ConfigError: the grid, or a loss without temperature.
        RoundError: a distillation diverged.
    """
    objective = config.student.objective
    if not objective.has_temperature:
        allowed = f"one of {', '.join(DIVERGENCES)}: they have a temperature"
        raise ConfigError("student.objective.loss", objective.loss, allowed)
    offline = open_offline(config)
    offline.train_teacher()
    public = offline.answers()
    num_held_out = TemperatureSelectionConfig(holdout_fraction=holdout_fraction).num_held_out(len(public.images_NCHW))
    if not 0 < num_held_out < len(public.images_NCHW):
        raise ConfigError("data.public.size", len(public.images_NCHW), "enough samples to hold some out, not all")
    order = torch.randperm(len(public.images_NCHW), generator=torch_rng(config.run.seed, "temperature"))
    held_out, learnt = public.take(order[:num_held_out]), public.take(order[num_held_out:])

    def distil(setting: Setting) -> FloatArray:
        """Every trial begins from the same student and terms."""
        student = config.student.model_copy(update={"objective": objective.at(*setting)})
        trial = replace(
            offline,
            config=config.model_copy(update={"student": student}),
            student=copy.deepcopy(offline.student),
            terms=copy.deepcopy(offline.terms),
        )
        trial.distil(learnt)
        return predict_logits(trial.student, held_out.images_NCHW)

    return choose_setting(
        distil,
        settings_of(grid, (objective.alpha,)),
        held_out.teacher_logits_NC.cpu().numpy(),
        None if held_out.labels_N is None else held_out.labels_N.cpu().numpy(),
        executor=LocalExecutor(),
    )
