from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fedkd.config.experiment import load_config
from fedkd.errors import ConfigError


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """A file with something in it to override."""
    path = tmp_path / "experiment.toml"
    path.write_text('[run]\nseed = 5\nname = "given"\n[data.partition]\nkind = "iid"\n', encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("run.seed=7", "run.seed", 7),
        ("run.seed = 7", "run.seed", 7),
        ("run.seed=1_000", "run.seed", 1000),
        ("run.baselines=false", "run.baselines", False),
        ("student.objective.temperature=2.5", "student.objective.temperature", 2.5),
        ("student.objective.temperature=1e1", "student.objective.temperature", 10.0),
        ("run.name=bare", "run.name", "bare"),
        ("run.name='2026'", "run.name", "2026"),
        ("run.name=", "run.name", ""),
        ("run.output=/srv/a b=c", "run.output", "/srv/a b=c"),
        ("data.root=C:\\data", "data.root", "C:\\data"),
        ("clients.models=['mlp', \"cnn\"]", "clients.models", ["mlp", "cnn"]),
        ("data.partition.dirichlet_alpha=0.1", "data.partition.dirichlet_alpha", 0.1),
        ("data.public={size = 50, labelled = true}", "data.public.size", 50),
    ],
)
def test_an_override_sets_one_key(override: str, path: str, value: object, experiment: Path) -> None:
    reached: Any = load_config(experiment, [override]).model_dump(mode="json")
    for part in path.split("."):
        reached = reached[part]
    assert reached == value
    assert type(reached) is type(value)


def test_an_override_leaves_the_rest_of_the_file_alone(experiment: Path) -> None:
    config = load_config(experiment, ["run.seed=7", "data.partition.min_size=3"])
    assert (config.run.seed, config.run.name) == (7, "given")
    assert (config.data.partition.kind.name, config.data.partition.min_size) == ("iid", 3)


def test_the_last_override_of_a_key_counts(experiment: Path) -> None:
    assert load_config(experiment, ["run.seed=7", "run.seed=8"]).run.seed == 8


def test_overrides_make_sections_that_the_file_lacks(experiment: Path) -> None:
    config = load_config(experiment, ["method.name=fedmd", "method.local_distillation.objective.loss=mse"])
    assert (config.method.name, config.method.local_distillation.objective.loss) == ("fedmd", "mse")


@pytest.mark.parametrize("override", ["run.seed", "", "=3", "run.=3", ".seed=3", "run..seed=3", " =3"])
def test_an_override_of_another_form_is_refused(override: str, experiment: Path) -> None:
    with pytest.raises(ConfigError, match=r"section\.key=value") as caught:
        load_config(experiment, [override])
    assert (caught.value.key, caught.value.value) == ("--set", override)


def test_an_override_cannot_enter_a_value(experiment: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.seed is a value, not a section"):
        load_config(experiment, ["run.seed.deep=3"])


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("run.sead=7", "run.sead"),
        ("run.seed=seven", "run.seed"),
        ("data.partition.dirichlet_alpha=nan", "data.partition.dirichlet_alpha"),
        ("run=3", "run"),
        ("run.seed=" + "9" * 5000, "run.seed"),
    ],
)
def test_an_override_is_validated_like_the_file(override: str, key: str, experiment: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(experiment, [override])
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("content", "allowed"),
    [
        (b"[run\nseed = 1\n", "valid TOML"),
        (b"seed = = 1\n", "valid TOML"),
        (b"[run]\nseed = 1\nseed = 2\n", "valid TOML"),
        (b"name = '\xff'\n", "valid TOML"),
        (b"[run]\nseed = " + b"9" * 5000, "valid TOML"),
    ],
)
def test_a_file_that_is_not_toml_is_refused(content: bytes, allowed: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert (caught.value.key, caught.value.value) == ("CONFIG", str(path))
    assert allowed in caught.value.allowed


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml.*No such file"):
        load_config(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="a readable TOML file"):
        load_config(tmp_path)
