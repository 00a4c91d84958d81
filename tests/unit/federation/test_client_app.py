"""What the apps read from Flower's run config."""

from __future__ import annotations

from pathlib import Path

import pytest
from flwr.app import Context, RecordDict, UserConfig

from fedkd.config.experiment import ExperimentConfig, load_config
from fedkd.errors import ConfigError
from fedkd.federation.client_app import EXPERIMENT_KEY, config_of


def context(run_config: UserConfig) -> Context:
    return Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config=run_config)


def test_an_empty_experiment_is_the_first_run_of_the_readme() -> None:
    expected = load_config(Path(__file__).parents[3] / "simulations" / "digits.toml")
    assert config_of(context({EXPERIMENT_KEY: ""})) == expected


def test_an_experiment_comes_back_from_json() -> None:
    config = ExperimentConfig.model_validate({"run": {"seed": 3}, "method": {"name": "fedmd"}})
    assert config_of(context({EXPERIMENT_KEY: config.model_dump_json()})) == config


@pytest.mark.parametrize(
    "run_config", [{}, {EXPERIMENT_KEY: 3}, {EXPERIMENT_KEY: "run.seed=1"}, {EXPERIMENT_KEY: "[]"}]
)
def test_anything_else_is_refused(run_config: UserConfig) -> None:
    with pytest.raises(ConfigError, match="fedkd config --flower"):
        config_of(context(run_config))
