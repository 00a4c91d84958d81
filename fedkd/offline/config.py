"""One TOML is one offline distillation: the data section of an experiment, a teacher, a student, and the terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from fedkd.config.errors import config_error, read_toml
from fedkd.config.experiment import ExperimentConfig, RunFolderConfig, apply_override, parse_config
from fedkd.data.config import DataConfig
from fedkd.distillation import DistillationConfig
from fedkd.distillation.objective import check_hard_loss, check_temperature
from fedkd.errors import ConfigError
from fedkd.models.config import ModelName
from fedkd.training.config import TrainingConfig
from fedkd.types import Section

TermName = Literal[
    "hint", "attention", "similarity", "distance", "angle", "geometry", "hidden_states", "attention_matrices"
]


class OfflineRunConfig(RunFolderConfig):
    """The run itself. An offline distillation is a run of one round."""

    rounds: Literal[1] = Field(1, description="always 1")


class TeacherConfig(TrainingConfig):
    """The teacher, and how it is trained on the private samples, all of them."""

    model: ModelName = Field("cnn", description="registered model, or package.module:factory")
    weights: str = Field("", description="a safetensors file of a trained one, which is then not trained")
    epochs: int = Field(20, ge=0, description="passes over the private samples")


class OfflineMethodConfig(Section):
    """What names the run in reports and comparisons."""

    name: Literal["distill"] = Field("distill", description="always distill")


class OfflineStudentConfig(DistillationConfig):
    """The student, and how it learns on the public samples."""

    model: ModelName = Field("cnn", description="registered model, or package.module:factory")
    epochs: int = Field(20, ge=0, description="passes over the public samples")


class TermConfig(Section):
    """A further loss, between modules of student and teacher."""

    loss: TermName = Field(description="which loss")
    student: tuple[str, ...] = Field(min_length=1, strict=False, description="names of the student's modules")
    teacher: tuple[str, ...] = Field(min_length=1, strict=False, description="names of the teacher's modules")
    weight: float = Field(1.0, ge=0, description="factor of the loss")

    @model_validator(mode="after")
    def _as_many(self) -> TermConfig:
        several = len(self.student) > 1
        if len(self.student) != len(self.teacher) or several != (self.loss == "geometry"):
            wanted = "at least 2 modules" if self.loss == "geometry" else "1 module"
            raise ConfigError(
                "terms.student", list(self.student), f"{wanted} with {self.loss}, as many as the teacher's"
            )
        return self


_ONLY_IN_A_FEDERATION = {
    "student.temperature_selection": "no key of an offline distillation: `fedkd temperature CONFIG` chooses",
    "method.batch_norm_alignment": "no key of an offline distillation: its teacher adopts no student",
    "method.local_distillation": "no key of an offline distillation: there are no clients",
    "student.objective.terms": "no key of an offline distillation: its teacher has layers, hence [[terms]]",
}


class OfflineConfig(Section):
    """Everything that determines the result of an offline distillation."""

    run: OfflineRunConfig = OfflineRunConfig()
    data: DataConfig = DataConfig()
    teacher: TeacherConfig = TeacherConfig()
    method: OfflineMethodConfig = OfflineMethodConfig()
    student: OfflineStudentConfig = OfflineStudentConfig()
    terms: tuple[TermConfig, ...] = Field((), strict=False, description="further losses, each a table [[terms]]")

    @model_validator(mode="before")
    @classmethod
    def _of_one_teacher(cls, values: Any) -> Any:
        for path, reason in _ONLY_IN_A_FEDERATION.items():
            given = values
            for key in path.split("."):
                given = given.get(key) if isinstance(given, Mapping) else None
            if given:
                raise ConfigError(path, given, reason)
        return values

    @model_validator(mode="after")
    def _possible(self) -> OfflineConfig:
        student = self.student
        check_hard_loss("student.objective", student.objective, labelled=self.data.public.labelled)
        check_temperature("student.objective", student.objective)
        if student.patience > 0 and student.holdout_fraction == 0:
            raise ConfigError("student.patience", student.patience, "0 without student.holdout_fraction")
        return self


RecordedConfig = ExperimentConfig | OfflineConfig
"""What a run folder can hold."""


def load_offline_config(path: Path | str, overrides: Iterable[str] = ()) -> OfflineConfig:
    """Read a TOML file and apply `section.key=value` overrides.

    Raises:
        ConfigError: the file cannot be read or parsed, an override is malformed, or the values are not allowed.
    """
    values = read_toml(path)
    for override in overrides:
        apply_override(values, override)
    return parse_offline(values)


def parse_offline(values: Mapping[str, Any]) -> OfflineConfig:
    """Validate nested values.

    Raises:
        ConfigError: an unknown key (with the nearest valid one), a value out of range, an impossible combination.
    """
    try:
        return OfflineConfig.model_validate(values)
    except ValidationError as cause:
        raise config_error(cause, OfflineConfig) from cause


def parse_recorded(values: Mapping[str, Any]) -> RecordedConfig:
    """Validate what a run folder holds: an offline distillation has a teacher of its own, an experiment has none.

    Raises:
        ConfigError: it is neither.
    """
    return parse_offline(values) if "teacher" in values else parse_config(values)
