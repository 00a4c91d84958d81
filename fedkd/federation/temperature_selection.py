"""The server chooses the temperature of its student's distillation; see `fedkd.distillation.temperature`.

    public samples of the round ─┬─ trials learn: one distillation for each setting, from the server's model as it is
                                 └─ trials are measured: without labels, unless data.public.labelled

The trials are thrown away. The student then learns on all public samples of the round at the chosen setting, to the
bits to which it would have come had that setting been configured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.config.experiment import ExperimentConfig, at
from fedkd.distillation.executor import Executor
from fedkd.distillation.shards import Alone
from fedkd.distillation.temperature import Setting, choose_setting, settings_of
from fedkd.federation.server_tasks import DistillationTask, PredictionTask
from fedkd.federation.workspace import Workspace
from fedkd.records import TemperatureChoice
from fedkd.seeding import numpy_rng
from fedkd.types import FloatArray, IntArray

_STATE = "setting"


class TemperatureSelector:
    """Chooses T and alpha in the rounds that the configuration names, and keeps them until the next choice.

    Args:
        config: the experiment; `[student.temperature_selection]` says what to try and when.
        workspace: the server's data.
        executor: where trials are distilled, one a worker.
    """

    def __init__(self, config: ExperimentConfig, workspace: Workspace, executor: Executor) -> None:
        self._config, self._workspace, self._executor = config, workspace, executor
        self._selection = config.student.temperature_selection
        self._chosen: Setting | None = None

    @property
    def config(self) -> ExperimentConfig:
        """The experiment at the setting that is in force."""
        return self._config if self._chosen is None else at(self._config, self._chosen)

    @property
    def chosen(self) -> tuple[float, float] | None:
        """The temperature and alpha that were chosen last; `None` before the first choice."""
        return None if self._chosen is None else (self._chosen.temperature, self._chosen.alpha)

    def choose(self, server_round: int, task: DistillationTask) -> TemperatureChoice | None:
        """Choose, if this round is one to choose in, and its teacher has rows enough to learn from and to measure on.

        Args:
            server_round: from 1.
            task: the distillation that is to come, of the student on all public samples of the round.
        """
        if not self._selection.chooses(server_round, chosen_before=self._chosen is not None):
            return None
        num_held_out = self._selection.num_held_out(len(task.indices_N))
        if not 0 < num_held_out < len(task.indices_N):
            return None
        rng = numpy_rng(self._config.run.seed, "temperature", "round", server_round)
        order = rng.permutation(len(task.indices_N))
        held_out, learnt = np.sort(order[:num_held_out]), np.sort(order[num_held_out:])
        trial = Trial(
            replace(task, indices_N=task.indices_N[learnt], teacher_NC=task.teacher_NC[learnt]),
            task.indices_N[held_out],
        )
        labels = self._workspace.data.public_labels_N
        choice = choose_setting(
            trial,
            settings_of(self._selection.grid, self._selection.alphas or (self._config.student.objective.alpha,)),
            task.teacher_NC[held_out],
            None if labels is None else labels[task.indices_N[held_out]],
            executor=self._executor,
        )
        self._chosen = Setting(choice.temperature, choice.alpha)
        return choice

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """What is carried from round to round, as named arrays."""
        return {} if self._chosen is None else {_STATE: np.array(self._chosen)}

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `state` returned."""
        self._chosen = Setting(*arrays[_STATE].tolist()) if arrays else None


@dataclass(frozen=True)
class Trial:
    """Distils `task` at a setting, and lets the student answer public samples that it has not learnt from."""

    task: DistillationTask
    held_out_N: IntArray

    def __call__(self, setting: Setting) -> FloatArray:
        """Return the student's logits on the held-out samples, [N, C].

        Raises:
            RoundError: the distillation diverged.
        """
        config = at(self.task.config, setting)
        state, _ = replace(self.task, config=config)(Alone())
        return PredictionTask(config, self.task.architecture, state.weights, self.held_out_N, slice(None))()
