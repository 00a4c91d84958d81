from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedkd.config.experiment import ExperimentConfig, at, load_config, parse_config
from fedkd.distillation.temperature import Setting
from fedkd.errors import ConfigError
from fedkd.reporting import RunStore

DEFAULTS: dict[str, dict[str, Any]] = {
    "run": {
        "seed": 0,
        "rounds": 10,
        "engine": "local",
        "output": "runs",
        "name": "",
        "device": "auto",
        "baselines": True,
    },
    "data": {"source": "digits", "root": "data", "train_size": None, "test_size": None, "image_size": None},
    "clients": {
        "number": 10,
        "fraction_train": 1.0,
        "min_train_nodes": 2,
        "min_replies": 1,
        "models": ["cnn"],
        "dropout_rate": 0.0,
        "straggler_rate": 0.0,
    },
    "ray": {"address": "", "workers": 0, "cpus_per_worker": 1.0, "gpus_per_worker": 0.0},
    "training": {"epochs": 2, "batch_size": 32, "optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9},
    "method": {
        "name": "fkd",
        "public_per_round": 0,
        "upload": "public_logits",
        "aggregator": "mean_logits",
        "refine": [],
    },
    "student": {"model": "cnn", "epochs": 5, "batch_size": 64, "optimizer": "adam", "patience": 0},
    "payload": {
        "encoding": "float32",
        "encoding_down": None,
        "clip": True,
        "clipping_range": 30.0,
        "steps": [],
    },
    "secure_aggregation": {"enabled": False, "trust": "curious", "minimum_cohort": 3, "value_bits": 16},
    "attack": {"clients": [], "lie": "rotate_logits"},
}
"""What an empty file means. A change here changes the result of files that others have written."""


def _refusal(values: dict[str, Any]) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    assert caught.value.key in str(caught.value)
    assert repr(caught.value.value) in str(caught.value)
    return caught.value


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("section", DEFAULTS)
def test_an_empty_file_means_the_documented_defaults(section: str, tmp_path: Path) -> None:
    config = load_config(_write(tmp_path / "empty.toml", "")).model_dump(mode="json")
    assert set(config) == set(DEFAULTS)
    assert DEFAULTS[section].items() <= config[section].items()


def test_public_set_and_partition_have_the_documented_defaults() -> None:
    data = parse_config({}).data
    assert (data.public.source, data.public.size, data.public.labelled) == ("same", 400, False)
    assert (data.partition.kind.name, data.partition.dirichlet_alpha, data.partition.min_size) == ("dirichlet", 0.3, 10)


@pytest.mark.parametrize("method", ["fkd", "fedmd", "feddf", "fedavg", "fedprox"])
def test_a_run_folder_gives_the_configuration_back(method: str, tmp_path: Path) -> None:
    config = parse_config(
        {
            "run": {"seed": 2**63 - 1, "name": 'a "quoted" naïve name'},
            "data": {"root": "C:\\data\n", "partition": {"dirichlet_alpha": 1e-7}},
            "clients": {"models": ["cnn", "mlp"], "fraction_train": 0.1 + 0.2},
            "method": {"name": method, "local_distillation": {"objective": {"loss": "kl", "temperature": 1 / 3}}},
            "student": {"objective": {"alpha": 1.0, "loss": "users_losses:loss"}},
        }
    )
    store = RunStore.create(tmp_path, "run")
    store.write_config(config.model_dump(mode="json"))
    assert load_config(store.config_path) == config
    assert parse_config(config.model_dump(mode="json")) == config
    assert type(load_config(store.config_path).method) is type(config.method)


def test_every_key_has_a_description() -> None:
    def undescribed(model: Any, path: str) -> list[str]:
        found: list[str] = []
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
                found += undescribed(field.annotation, f"{path}{name}.")
            elif field.description is None:
                found.append(path + name)
        return found

    assert undescribed(ExperimentConfig, "") == []


@pytest.mark.parametrize(
    ("values", "key", "suggestion"),
    [
        ({"runs": {}}, "runs", "run"),
        ({"run": {"round": 3}}, "run.round", "rounds"),
        ({"data": {"public": {"siez": 3}}}, "data.public.siez", "size"),
        ({"data": {"partition": {"alpha": 0.1}}}, "data.partition.alpha", "dirichlet_alpha"),
        ({"student": {"objective": {"temprature": 2}}}, "student.objective.temprature", "temperature"),
        ({"method": {"name": "fedprox", "proximal_m": 1}}, "method.proximal_m", "proximal_mu"),
        ({"method": {"local_distillation": {"epoch": 1}}}, "method.local_distillation.epoch", "epochs"),
        ({"secure_aggregation": {"enable": True}}, "secure_aggregation.enable", "enabled"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(values: dict[str, Any], key: str, suggestion: str) -> None:
    refusal = _refusal(values)
    assert refusal.key == key
    assert f"(did you mean {suggestion!r}?)" in refusal.allowed


@pytest.mark.parametrize(
    ("values", "key", "named"),
    [
        ({"run": {"bounds": False}}, "run.bounds", "run.baselines"),
        ({"method": {"temperature": 2.0}}, "method.temperature", "student.objective.temperature"),
        ({"method": {"alpha": 0.5}}, "method.alpha", "method.local_distillation.objective.alpha"),
        ({"method": {"label_smoothing": 0.1}}, "method.label_smoothing", "student.objective.label_smoothing"),
        ({"method": {"name": "fedmd", "digestion": {"loss": "kl"}}}, "method.digestion", "method.local_distillation"),
        ({"student": {"loss": "js"}}, "student.loss", "student.objective.loss"),
        ({"student": {"terms": []}}, "student.terms", "student.objective.terms"),
    ],
)
def test_a_key_of_an_earlier_version_is_refused_with_the_new_one(values: dict[str, Any], key: str, named: str) -> None:
    refusal = _refusal(values)
    assert refusal.key == key
    assert refusal.allowed.startswith("no longer a key; it is now ")
    assert named in refusal.allowed


@pytest.mark.parametrize(("loss", "temperature"), [("kl", 4.0), ("l1", 1.0)])
def test_a_chosen_setting_reaches_the_student_and_the_clients(loss: str, temperature: float) -> None:
    values = {
        "method": {"name": "fedmd", "local_distillation": {"epochs": 3, "objective": {"loss": loss}}},
        "data": {"public": {"labelled": True}},
    }
    config = parse_config(values)
    values["student"] = {"objective": {"temperature": 4.0, "alpha": 0.5}}
    values["method"]["local_distillation"]["objective"] |= {"temperature": temperature, "alpha": 0.5}
    assert at(config, Setting(4.0, 0.5)) == parse_config(values)


def test_keys_of_another_method_are_unknown() -> None:
    refusal = _refusal({"method": {"name": "fedavg", "aggregator": "mean_logits"}})
    assert refusal.key == "method.aggregator"
    assert "local_distillation" in refusal.allowed
    assert "it has" in refusal.allowed


def test_several_problems_are_counted_and_named() -> None:
    assert "1 more: clients.number" in str(_refusal({"run": {"rounds": 0}, "clients": {"number": -1}}))


@pytest.mark.parametrize(
    ("section", "key", "value", "allowed"),
    [
        ("run", "rounds", 0, "greater than or equal to 1"),
        ("run", "seed", -1, "greater than or equal to 0"),
        ("run", "seed", 2**63, "less than"),
        ("run", "engine", "spark", "'local'"),
        ("ray", "workers", -1, "greater than or equal to 0"),
        ("ray", "cpus_per_worker", 0, "greater than 0"),
        ("ray", "gpus_per_worker", -0.5, "greater than or equal to 0"),
        ("student", "shards", 0, "greater than or equal to 1"),
        ("run", "name", "a/b", "single folder name"),
        ("run", "name", "..", "single folder name"),
        ("run", "name", "a\0b", "single folder name"),
        ("run", "rounds", "many", "valid integer"),
        ("data", "image_size", 0, "greater than or equal to 1"),
        ("clients", "fraction_train", 0, "greater than 0"),
        ("clients", "fraction_train", 1.5, "less than or equal to 1"),
        ("clients", "dropout_rate", 1, "less than 1"),
        ("clients", "models", [], "at least 1 item"),
        ("training", "learning_rate", float("inf"), "finite"),
        ("training", "optimizer", "lion", "sgd, adam"),
        ("student", "holdout_fraction", 1, "less than 1"),
        ("payload", "encoding", "int4", "'int8'"),
        ("secure_aggregation", "minimum_cohort", 1, "greater than or equal to 2"),
        ("secure_aggregation", "trust", "passive", "'curious' or 'active'"),
    ],
)
def test_a_value_out_of_range_is_refused(section: str, key: str, value: object, allowed: str) -> None:
    refusal = _refusal({section: {key: value}})
    assert (refusal.key, refusal.value) == (f"{section}.{key}", value)
    assert allowed in refusal.allowed


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("temperature", 0, "greater than 0"),
        ("alpha", 1.1, "less than or equal to 1"),
        ("loss", "ki", "package.module:function (did you mean 'kl'?)"),
    ],
)
def test_a_value_out_of_range_of_an_objective_is_refused(key: str, value: object, allowed: str) -> None:
    for path, values in (
        ("student.objective", {"student": {"objective": {key: value}}}),
        ("method.local_distillation.objective", {"method": {"local_distillation": {"objective": {key: value}}}}),
    ):
        refusal = _refusal(values)
        assert (refusal.key, refusal.value) == (f"{path}.{key}", value)
        assert allowed in refusal.allowed


@pytest.mark.parametrize("alpha", ["0", "0.0", "-0.5", "nan", "inf", "-inf", '"skewed"'])
def test_a_dirichlet_alpha_that_is_not_positive_and_finite_is_refused(alpha: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "skew.toml", f"[data.partition]\ndirichlet_alpha = {alpha}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert caught.value.key == "data.partition.dirichlet_alpha"


@pytest.mark.parametrize(
    ("values", "key", "suggestion"),
    [
        ({"method": {"name": "fedm"}}, "method.name", "fedmd"),
        ({"method": {"aggregator": "mean_logit"}}, "method.aggregator", "mean_logits"),
        ({"method": {"name": "fedmd", "aggregator": "median"}}, "method.aggregator", "median_logits"),
        ({"data": {"source": "digit"}}, "data.source", "digits"),
        ({"data": {"public": {"source": "mnists"}}}, "data.public.source", "mnist"),
        ({"student": {"model": "resnet80"}}, "student.model", "resnet8"),
        ({"clients": {"models": ["mlp", "cnm"]}}, "clients.models.1", "cnn"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(values: dict[str, Any], key: str, suggestion: str) -> None:
    refusal = _refusal(values)
    assert refusal.key == key
    assert f"did you mean '{suggestion}" in refusal.allowed
