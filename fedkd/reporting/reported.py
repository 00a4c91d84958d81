"""What a report is made of."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from fedkd.records import PartitionRecord, RunRecord


@dataclass(frozen=True)
class ReportedRun:
    """What a report says of a run.

    Args:
        run: the run and all its rounds.
        config: the resolved configuration, as read from `config.toml`.
        environment: versions, seed, public digest, start; nested values are shown as JSON.
        partition: how the private samples lie over the clients, or `None` where that is unknown.
        defaults: the configuration of an experiment that sets nothing but its method.
    """

    run: RunRecord
    config: Mapping[str, object] = field(default_factory=dict)
    environment: Mapping[str, object] = field(default_factory=dict)
    partition: PartitionRecord | None = None
    defaults: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the run folder."""
        return PurePath(self.run.run_dir).name or self.run.run_dir

    @property
    def unfinished(self) -> str:
        """A warning for a run whose rounds are not over, else an empty string."""
        done, rounds = len(self.run.history), self.run.rounds
        if done >= rounds:
            return ""
        return (
            f"{self.name} is still going, or was stopped: {done} of {rounds} rounds are on this page. "
            "Its baselines, its student file and its confusion matrices come after the last."
        )

    @property
    def rerun(self) -> str:
        """The command that runs the experiment again."""
        command = "distill" if "teacher" in self.config else "simulate"
        return f"fedkd {command} {shlex.quote(str(PurePath(self.run.run_dir) / 'config.toml'))}"
