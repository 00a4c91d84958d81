"""`fedkd config`: the resolved experiment, as TOML and as Flower takes it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

from flwr.common.config import parse_config_args

from fedkd.config.experiment import load_config, parse_config, with_absolute_paths
from fedkd.flower.app_bundle import EXPERIMENT_KEY

PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"


def test_config_prints_every_key_as_toml(folder: Path, invoke: Callable[..., str]) -> None:
    printed = tomllib.loads(invoke("config", folder / "experiment.toml", "--set", "run.seed=9"))
    assert printed["run"]["seed"] == 9
    assert printed["clients"]["fraction_train"] == 1.0  # not in the file
    assert parse_config(printed) == load_config(folder / "experiment.toml", ["run.seed=9"])


def test_flower_reads_what_config_prints_for_it(folder: Path, tmp_path: Path, invoke: Callable[..., str]) -> None:
    run_toml = tmp_path / "run.toml"
    run_toml.write_text(invoke("config", folder / "experiment.toml", "--flower"), encoding="utf-8")
    run_config = parse_config_args([str(run_toml)])
    assert list(run_config) == [EXPERIMENT_KEY]
    declared = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["tool"]["flwr"]["app"]["config"]
    assert list(declared) == list(run_config)
    expected = with_absolute_paths(load_config(folder / "experiment.toml"))
    assert parse_config(json.loads(run_config[EXPERIMENT_KEY])) == expected


def test_paths_for_flower_are_absolute(folder: Path, invoke: Callable[..., str]) -> None:
    changes = ["run.output=here", "data.root=it's", "data.public.root=there"]
    overrides = [argument for change in changes for argument in ("--set", change)]
    printed = invoke("config", folder / "experiment.toml", *overrides, "--flower")
    values = json.loads(tomllib.loads(printed)[EXPERIMENT_KEY])
    here = Path.cwd()
    assert values["run"]["output"] == str(here / "here")
    assert values["data"]["root"] == str(here / "it's")
    assert values["data"]["public"]["root"] == str(here / "there")


def test_a_public_root_left_out_stays_left_out(folder: Path, invoke: Callable[..., str]) -> None:
    values = json.loads(tomllib.loads(invoke("config", folder / "experiment.toml", "--flower"))[EXPERIMENT_KEY])
    assert values["data"]["public"]["root"] is None


def test_a_config_that_is_not_allowed_is_refused(folder: Path, refuse: Callable[..., str]) -> None:
    assert "clients.number" in refuse("config", folder / "experiment.toml", "--set", "clients.number=0", "--flower")
