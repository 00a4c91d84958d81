"""Methods by name and by import path, and refusal of what is neither."""

from __future__ import annotations

import functools
import sys
from types import ModuleType

import pytest
from pydantic import Field

from fedkd.aggregation import make_aggregator
from fedkd.errors import ConfigError
from fedkd.methods import REFERENCES, Method, MethodConfig, available_methods, build_method, method_config_type
from fedkd.methods.fedavg import FedAvgConfig, FedProxConfig
from fedkd.methods.feddf import FedDFConfig
from fedkd.methods.fedmd import FedMDConfig
from fedkd.methods.fkd import FkdConfig
from fedkd.methods.uploads import PublicLogits
from fedkd.training.local_terms import Proximal

CONFIG_TYPES = {
    "fkd": FkdConfig,
    "fedmd": FedMDConfig,
    "feddf": FedDFConfig,
    "fedavg": FedAvgConfig,
    "fedprox": FedProxConfig,
}


class OwnConfig(MethodConfig):
    name: str = "own_methods:build"
    strength: float = 2.0


def build(config: OwnConfig) -> Method:
    return Method(
        name="own",
        uploads=(PublicLogits(),),
        adopts="soft_labels",
        aggregate=make_aggregator("mean_logits"),
        local_terms=(Proximal(config.strength),),
    )


def two_arguments(config: OwnConfig, other: int) -> Method: ...
def another_type(config: dict) -> Method: ...
def no_annotation(config) -> Method: ...
def no_argument() -> Method: ...
def unresolved(config: NoSuchConfig) -> Method: ...  # noqa: F821 (that is the point)
def an_instance(config: OwnConfig()) -> Method: ...


class Callable:
    def __call__(self, config: OwnConfig) -> Method:
        return build(config)


@pytest.fixture(autouse=True)
def _own_methods(monkeypatch):
    """A user's module `own_methods`, importable while the test runs."""
    module = ModuleType("own_methods")
    for function in (build, two_arguments, another_type, no_annotation, no_argument, unresolved, an_instance):
        setattr(module, function.__name__, function)
    module.number, module.partial, module.instance = 3.5, functools.partial(build), Callable()
    module.OwnConfig = OwnConfig
    monkeypatch.setitem(sys.modules, "own_methods", module)


def test_names():
    assert available_methods() == tuple(CONFIG_TYPES)
    assert set(REFERENCES) == {"fedavg", "fedprox"}


@pytest.mark.parametrize("name", CONFIG_TYPES)
def test_each_name_has_its_config_whose_default_name_is_that_name(name):
    assert method_config_type(name) is CONFIG_TYPES[name]
    assert CONFIG_TYPES[name]().name == name


@pytest.mark.parametrize("name", [name for name in CONFIG_TYPES if name not in REFERENCES])
def test_each_method_is_built_from_its_config(name):
    method = build_method(CONFIG_TYPES[name]())
    assert isinstance(method, Method)
    assert method.name == name


@pytest.mark.parametrize("look_up", [method_config_type, lambda name: build_method(MethodConfig(name=name))])
@pytest.mark.parametrize(
    ("name", "near"), [("fkdd", "fkd"), ("feddff", "feddf"), ("FedMD", "fedmd"), ("fedprx", "fedprox")]
)
def test_an_unknown_name_is_answered_with_all_names_and_the_nearest(look_up, name, near):
    with pytest.raises(ConfigError, match=rf"did you mean '{near}'\?") as refusal:
        look_up(name)
    assert (refusal.value.key, refusal.value.value) == ("method.name", name)
    assert all(known in refusal.value.allowed for known in (*available_methods(), "package.module:builder"))


def test_a_name_like_no_other_gets_no_suggestion():
    with pytest.raises(ConfigError, match="one of fkd") as refusal:
        method_config_type("quux")
    assert "did you mean" not in str(refusal.value)


@pytest.mark.parametrize("attribute", ["build", "partial", "instance"])
def test_an_own_builder_is_found_by_its_import_path(attribute):
    name = f"own_methods:{attribute}"
    config_type = method_config_type(name)
    assert config_type is OwnConfig
    method = build_method(config_type.model_validate({"name": name, "strength": 0.25}))
    assert (method.name, method.local_terms) == ("own", (Proximal(0.25),))


@pytest.mark.parametrize(
    "attribute",
    [
        "two_arguments",
        "another_type",
        "no_annotation",
        "no_argument",
        "unresolved",
        "an_instance",
        "number",
        "OwnConfig",
    ],
)
def test_what_is_not_a_builder_is_refused(attribute):
    with pytest.raises(ConfigError, match="one argument, annotated with a MethodConfig") as refusal:
        method_config_type(f"own_methods:{attribute}")
    assert refusal.value.value == f"own_methods:{attribute}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_methods:bild", "has no attribute 'bild'"),
        ("no_such_module:build", "does not import"),
        ("own_methods:", "not of the form"),
    ],
)
def test_import_paths_that_lead_nowhere_are_config_errors(name, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        method_config_type(name)
    assert refusal.value.key == "method.name"


@pytest.mark.parametrize("name", REFERENCES)
def test_references_are_not_built_here(name):
    with pytest.raises(ConfigError, match="one of fkd, fedmd, feddf; the host") as refusal:
        build_method(REFERENCES[name]())
    assert "did you mean" not in str(refusal.value)


def test_a_builder_is_called_once_for_one_configuration(monkeypatch):
    """Clients compose their method at every message, and a builder may be slow; a dictionary may be among its keys."""
    calls = []

    class CountedConfig(OwnConfig):
        table: dict[str, float] = Field(default_factory=dict)

    def counted(config: CountedConfig) -> Method:
        calls.append(config)
        return Method("counted", (PublicLogits(),))

    counted.__annotations__ = {"config": CountedConfig, "return": Method}
    monkeypatch.setattr(sys.modules["own_methods"], "counted", counted, raising=False)
    first, again, other = (
        build_method(CountedConfig(name="own_methods:counted", table={"x": value})) for value in (1.0, 1.0, 2.0)
    )
    assert first is again
    assert first is not other
    assert len(calls) == 2
