"""One TOML is one experiment: the sections that each part declares, composed, and the combinations that cannot be.

config = load_config("simulations/digits.toml", overrides=["run.seed=1", "method.name=fedmd"])
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator

from fedkd.attacks import AttackConfig
from fedkd.config.combinations import check_combinations
from fedkd.config.errors import blaming_builder, config_error, read_toml
from fedkd.data.config import DataConfig
from fedkd.distillation import StudentConfig
from fedkd.distillation.temperature import Setting
from fedkd.errors import ConfigError
from fedkd.methods import MethodConfig, method_config_type
from fedkd.methods.fkd import FkdConfig
from fedkd.models.config import ModelName
from fedkd.parts import PartConfig
from fedkd.payload import PayloadConfig
from fedkd.training.config import TrainingConfig
from fedkd.training.metrics import MetricPart, label_of
from fedkd.types import Section, is_import_path


class RunFolderConfig(Section):
    """What every run has: a seed, a folder, a device."""

    seed: int = Field(0, ge=0, lt=2**63, description="root of all randomness of the simulation")
    output: str = Field("runs", description="folder in which the run folder is made")
    name: str = Field("", description="name of the run folder; empty: method, source, seed, time and a random part")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N; auto takes cuda where there is one")

    @field_validator("name")
    @classmethod
    def _one_path_part(cls, value: str) -> str:
        if Path(value).name != value or value == ".." or "\0" in value:
            raise ValueError("a single folder name without separators")
        return value


class RunConfig(RunFolderConfig):
    """The run itself."""

    rounds: int = Field(10, ge=1, description="rounds of the federation")
    engine: Literal["local", "ray", "flower"] = Field(
        "local",
        description="where clients run; local: in this process, one by one; ray: in parallel worker processes; "
        "flower: in Flower's simulation runtime",
    )
    baselines: bool = Field(True, description="also train the local-only and centralised references")
    evaluate_clients_every: int = Field(
        1,
        ge=0,
        description="every so many rounds, and in the last, clients also answer on the global test split, "
        "to measure them and the ensemble teacher; 0: never",
    )
    metrics: tuple[MetricPart, ...] = Field(
        (),
        strict=False,
        description="of student and ensemble teacher on the test split, beside accuracy and loss: top_k_accuracy, "
        "macro_f1, calibration_error, or package.module:function",
    )
    save: tuple[Literal["rows", "teacher", "clients"], ...] = Field(
        (),
        strict=False,
        description="arrays of every completed round to keep in the run folder; rows: what each client sent; teacher: "
        "what the student learns from; clients: the weights that each client sent",
    )
    observers: tuple[PartConfig, ...] = Field(
        (), strict=False, description="who else is told how the run goes: package.module:Observer, with its arguments"
    )

    @field_validator("observers")
    @classmethod
    def _import_paths(cls, observers: tuple[PartConfig, ...]) -> tuple[PartConfig, ...]:
        """Check the form alone: clients read the configuration, too, and need not have the module."""
        for observer in observers:
            if not is_import_path(observer.name):
                raise ValueError(f"{observer.name!r} is no import path; package.module:Observer")
        return observers

    @field_validator("metrics")
    @classmethod
    def _each_once(cls, metrics: tuple[PartConfig, ...]) -> tuple[PartConfig, ...]:
        names = [label_of(metric) for metric in metrics]
        if len(set(names)) < len(names):
            raise ValueError(f"each metric once; these are {', '.join(names)}")
        return metrics


class ClientsConfig(Section):
    """Who takes part."""

    number: int = Field(10, ge=1, description="clients of the federation")
    fraction_train: float = Field(1.0, gt=0, le=1, description="share of clients drawn for each round")
    min_train_nodes: int = Field(2, ge=1, description="at least this many clients are drawn")
    min_available_nodes: int = Field(
        0, ge=0, description="clients that must have joined before the first round; 0: all of number"
    )
    min_replies: int = Field(1, ge=1, description="usable replies below which a round keeps the old student")
    models: tuple[ModelName, ...] = Field(
        ("cnn",), min_length=1, strict=False, description="architectures, dealt to clients in turn"
    )
    dropout_rate: float = Field(0.0, ge=0, lt=1, description="seeded share of drawn clients that never answer")
    straggler_rate: float = Field(
        0.0, ge=0, lt=1, description="seeded share of drawn clients that train but answer after the deadline"
    )
    deadline: float = Field(3600.0, gt=0, description="seconds after which a client's reply is not waited for")
    join_timeout: float = Field(
        60.0, ge=0, description="seconds that the server waits until all clients have joined the federation"
    )

    def num_drawn(self, here: int) -> int:
        """Clients drawn for a round out of those that are there."""
        return min(max(int(self.fraction_train * here), self.min_train_nodes), here)


class RayConfig(Section):
    """The workers of the ray engine. Results do not depend on anything here."""

    address: str = Field("", description="of a running cluster (host:port, auto, ray://…); empty: start one here")
    workers: int = Field(0, ge=0, description="worker processes; 0: as many as CPUs and GPUs allow")
    cpus_per_worker: float = Field(1.0, gt=0, description="CPUs that Ray reserves for each worker")
    gpus_per_worker: float = Field(0.0, ge=0, description="GPUs likewise; a fraction shares one")


class SecureAggregationConfig(Section):
    """Whether the server sees only the sum of the clients' answers, and on which terms."""

    enabled: bool = Field(False, description="mask the clients' logits, so that only their sum can be read")
    trust: Literal["curious", "active"] = Field(
        "curious",
        description="the server that clients defend against; curious: it follows the protocol and looks; active: it "
        "sends whatever it likes, so that clients sign with identities",
    )
    identities: str = Field(
        "", description="folder of the clients' identities, as `fedkd identities` makes it; needed with trust = active"
    )
    minimum_cohort: int = Field(3, ge=2, description="clients reveal nothing for a sum over fewer")
    refuse_adjacent_cohorts: bool = Field(
        False, description="refuse a cohort that differs from the last round's by one client; else it is recorded"
    )
    ring_bits: int = Field(32, ge=8, le=64, description="sums are taken modulo 2^this")
    value_bits: int = Field(16, ge=1, le=32, description="a logit is one of 2^this levels")
    weight_bits: int = Field(8, ge=1, le=32, description="a confidence is an integer below 2^this")
    early_keys: bool = Field(
        True, description="clients send the keys of the next round with their last answer, which spares an exchange"
    )
    group_size: int = Field(
        0,
        ge=0,
        description="clients are summed in groups of at least this size, for aggregators that compare clients and "
        "then compare groups; 0: one sum over all",
    )
    dropout_stage: Literal["advertise", "share", "mask", "confirm", "unmask"] = Field(
        "mask", description="where clients that clients.dropout_rate and straggler_rate choose are missing"
    )


class ExperimentConfig(Section):
    """Everything that determines a run's result."""

    run: RunConfig = RunConfig()
    data: DataConfig = DataConfig()
    clients: ClientsConfig = ClientsConfig()
    ray: RayConfig = RayConfig()
    training: TrainingConfig = TrainingConfig()
    method: SerializeAsAny[MethodConfig] = FkdConfig()
    student: StudentConfig = StudentConfig()
    payload: PayloadConfig = PayloadConfig()
    secure_aggregation: SecureAggregationConfig = SecureAggregationConfig()
    attack: AttackConfig = AttackConfig()

    @field_validator("method", mode="before")
    @classmethod
    def _keys_of_the_method(cls, value: Any) -> Any:
        return _parse_method(value) if isinstance(value, Mapping) else value

    @model_validator(mode="after")
    def _possible(self) -> ExperimentConfig:
        check_combinations(self)
        return self

    def evaluates_clients(self, server_round: int) -> bool:
        """Whether clients are measured in this round."""
        every = self.run.evaluate_clients_every
        return every > 0 and (server_round % every == 0 or server_round == self.run.rounds)

    @property
    def num_drawn(self) -> int:
        """Clients drawn for a round, if all are there."""
        return self.clients.num_drawn(self.clients.number)

    def client_model(self, client: int) -> str:
        """Name of the architecture of client `client`."""
        return self.clients.models[client % len(self.clients.models)]


def at(config: ExperimentConfig, setting: Setting) -> ExperimentConfig:
    """The experiment in which the student and the clients learn from soft labels at a temperature and an alpha; a soft
    loss without temperature keeps none.
    """
    student, method = config.student, config.method
    local = method.local_distillation
    learnt = local.model_copy(update={"objective": local.objective.at(*setting)})
    return config.model_copy(
        update={
            "student": student.model_copy(update={"objective": student.objective.at(*setting)}),
            "method": method.model_copy(update={"local_distillation": learnt}),
        }
    )


def _parse_method(values: Mapping[str, Any]) -> MethodConfig:
    name = str(values.get("name", FkdConfig().name))
    with blaming_builder(name):
        config_type = method_config_type(name)
    try:
        return config_type.model_validate(values)
    except ValidationError as cause:
        raise config_error(cause, config_type, section="method") from cause


def parse_config(values: Mapping[str, Any]) -> ExperimentConfig:
    """Validate nested values, as read from TOML or JSON.

    Raises:
        ConfigError: an unknown key (with the nearest valid one), a value out of range, an impossible combination.
    """
    try:
        return ExperimentConfig.model_validate(values)
    except ValidationError as cause:
        raise config_error(cause, ExperimentConfig) from cause


def load_config(path: Path | str, overrides: Iterable[str] = ()) -> ExperimentConfig:
    """Read a TOML file and apply `section.key=value` overrides.

    Raises:
        ConfigError: the file cannot be read or parsed, an override is malformed, or the values are not allowed.
    """
    values = read_toml(path)
    for override in overrides:
        apply_override(values, override)
    return parse_config(values)


def with_absolute_paths(config: ExperimentConfig) -> ExperimentConfig:
    """Make every path of a configuration absolute, for processes that run in another folder."""
    run, data, secure = config.run, config.data, config.secure_aggregation
    identities = str(Path(secure.identities).absolute()) if secure.identities else ""
    public_root = None if data.public.root is None else str(Path(data.public.root).absolute())
    public = data.public.model_copy(update={"root": public_root})
    return config.model_copy(
        update={
            "run": run.model_copy(update={"output": str(Path(run.output).absolute())}),
            "data": data.model_copy(update={"root": str(Path(data.root).absolute()), "public": public}),
            "secure_aggregation": secure.model_copy(update={"identities": identities}),
        }
    )


def apply_override(values: dict[str, Any], override: str) -> None:
    """Set `a.b.c=value` in nested dictionaries; the value is TOML, or else a bare string.

    Raises:
        ConfigError: the override is malformed, or its path leads through a value.
    """
    key, equals, text = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError("--set", override, "section.key=value")
    try:
        value = tomllib.loads(f"value = {text.strip()}")["value"]
    except ValueError:
        value = text.strip()
    for depth, part in enumerate(path[:-1], start=1):
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ConfigError("--set", override, f"{'.'.join(path[:depth])} is a value, not a section")
    values[path[-1]] = value
