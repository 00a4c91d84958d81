"""What an offline distillation's file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import ConfigError
from fedkd.offline import OfflineConfig, load_offline_config, parse_recorded
from fedkd.offline.config import parse_offline
from fedkd.reporting import RunStore

TERM = {"loss": "similarity", "student": ["features"], "teacher": ["features"]}
IMPOSSIBLE: dict[str, tuple[dict[str, Any], str, str]] = {
    "a section of a federation": ({"clients": {"number": 3}}, "clients", "not a key of the file"),
    "an unknown key": ({"teacher": {"epoch": 1}}, "teacher.epoch", "did you mean 'epochs'?"),
    "hard loss without labels": (
        {"student": {"objective": {"alpha": 0.5}}},
        "student.objective.alpha",
        "data.public.labelled = true",
    ),
    "smoothing without a hard loss": (
        {"student": {"objective": {"label_smoothing": 0.1}}},
        "student.objective.label_smoothing",
        "0 with",
    ),
    "a temperature that nothing takes": (
        {"student": {"objective": {"temperature": 2.0, "loss": "mse"}}},
        "student.objective.temperature",
        "1 with student.objective.loss = 'mse'",
    ),
    "patience with nothing to watch": ({"student": {"patience": 1}}, "student.patience", "holdout_fraction"),
    "an unknown loss": ({"terms": [{**TERM, "loss": "hints"}]}, "terms.0.loss", "'hint'"),
    "two modules in a loss of one": (
        {"terms": [{**TERM, "student": ["a", "b"], "teacher": ["a", "b"]}]},
        "terms.student",
        "1 module with similarity",
    ),
    "a geometry of one task": ({"terms": [{**TERM, "loss": "geometry"}]}, "terms.student", "at least 2 modules"),
    "other numbers of tasks": (
        {"terms": [{"loss": "geometry", "student": ["a", "b"], "teacher": ["a", "b", "c"]}]},
        "terms.student",
        "as many as the teacher's",
    ),
    "the clients' objective": (
        {"method": {"local_distillation": {"epochs": 1}}},
        "method.local_distillation",
        "there are no clients",
    ),
    "relations to logits": (
        {"student": {"objective": {"terms": [{"loss": "angle"}]}}},
        "student.objective.terms",
        "[[terms]]",
    ),
    "a key of an earlier version": (
        {"method": {"temperature": 2.0}},
        "method.temperature",
        "it is now student.objective.temperature",
    ),
    "two rounds": ({"run": {"rounds": 2}}, "run.rounds", "1"),
    "a folder for a name": ({"run": {"name": "a/b"}}, "run.name", "single folder name"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_what_cannot_be_is_refused_by_name(name: str) -> None:
    values, key, allowed = IMPOSSIBLE[name]
    with pytest.raises(ConfigError) as caught:
        parse_offline(values)
    assert caught.value.key == key
    assert allowed in caught.value.allowed


def test_a_run_folder_gives_the_configuration_back(tmp_path: Path) -> None:
    config = parse_offline({"terms": [TERM, {**TERM, "loss": "hint", "weight": 0.1}], "teacher": {"epochs": 3}})
    store = RunStore.create(tmp_path, "run")
    store.write_config(config.model_dump(mode="json"))
    assert load_offline_config(store.config_path) == config
    assert parse_recorded(store.read_config()) == config
    assert load_offline_config(store.config_path, ["teacher.epochs=4"]).teacher.epochs == 4


def test_a_teacher_tells_the_two_kinds_of_run_folder_apart() -> None:
    assert isinstance(parse_recorded(OfflineConfig().model_dump(mode="json")), OfflineConfig)
    assert isinstance(parse_recorded(ExperimentConfig().model_dump(mode="json")), ExperimentConfig)
