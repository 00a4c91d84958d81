"""Whatever is written in a file or after `--set`, only a `ConfigError` comes out of it."""

from __future__ import annotations

import os
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from fedkd.config.experiment import ExperimentConfig, load_config, parse_config
from fedkd.errors import ConfigError
from fedkd.storage.files import to_toml

NAMES = [
    "fkd",
    "fedmd",
    "feddf",
    "fedavg",
    "fedprox",
    "digits",
    "same",
    "cnn",
    "mlp",
    "huggingface:",
    ":",
    ".a:b",
    "os:sep",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(NAMES)
    | st.dates()
    | st.binary(max_size=3)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def _sections(model: type[BaseModel]) -> st.SearchStrategy[dict[str, Any]]:
    """Dictionaries with the keys of a section, each with anything as its value, and perhaps one unknown key."""
    keys: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in model.model_fields.items():
        nested: Any = field.annotation
        is_section = isinstance(nested, type) and issubclass(nested, BaseModel)
        keys[name] = _sections(nested) | VALUES if is_section else VALUES
    known = st.fixed_dictionaries({}, optional=keys)
    return known | st.tuples(known, st.text(max_size=6), VALUES).map(lambda drawn: {drawn[1]: drawn[2]} | drawn[0])


def _refuses_or_parses(values: Any) -> None:
    try:
        config = parse_config(values)
    except ConfigError:
        return
    assert isinstance(config, ExperimentConfig)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(sorted(ExperimentConfig.model_fields)) | st.text(max_size=6), VALUES))
def test_anything_under_a_section(values: dict[str, Any]) -> None:
    _refuses_or_parses(values)


@settings(deadline=None, max_examples=60)
@given(_sections(ExperimentConfig))
def test_anything_under_a_key(values: dict[str, Any]) -> None:
    _refuses_or_parses(values)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["run.seed", "run.name", "method", "data.public.size", "x", ""]), st.text(max_size=20))
def test_anything_after_set(key: str, text: str) -> None:
    try:
        config = load_config(os.devnull, [f"{key}={text}"])
    except ConfigError:
        return
    assert isinstance(config, ExperimentConfig)


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**63 - 1),
    root=st.text(st.characters(exclude_categories=["Cs"])),
    alpha=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    fraction=st.floats(0, 1, exclude_min=True),
    models=st.lists(st.sampled_from(["mlp", "cnn", "lenet5", "own.models:factory"]), min_size=1, max_size=4),
    size=st.none() | st.integers(1, 2**62),
)
def test_toml_gives_back_every_bit(
    seed: int, root: str, alpha: float, fraction: float, models: list[str], size: int | None
) -> None:
    config = parse_config(
        {
            "run": {"seed": seed},
            "data": {"root": root, "train_size": size, "partition": {"dirichlet_alpha": alpha}},
            "clients": {"fraction_train": fraction, "models": models},
        }
    )
    assert parse_config(tomllib.loads(to_toml(config.model_dump(mode="json")))) == config


def test_what_is_no_table_is_refused() -> None:
    for values in ([1], None, "run", 3):
        with pytest.raises(ConfigError, match="valid dictionary"):
            parse_config(values)  # type: ignore[arg-type]
