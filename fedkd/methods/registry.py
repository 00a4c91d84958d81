"""Methods by name, or by the import path of a user's own builder.

A builder is a function of one annotated argument, `build(config: SomeMethodConfig) -> Method`; the annotation says
which keys `[method]` takes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from fedkd.errors import ConfigError, nearest
from fedkd.methods import feddf, fedmd, fkd
from fedkd.methods.base import Method, MethodConfig
from fedkd.methods.fedavg import FedAvgConfig, FedProxConfig
from fedkd.types import import_from_path

Builder = Callable[[Any], Method]

_BUILDERS: Mapping[str, Builder] = MappingProxyType(
    {"fkd": fkd.build, "fedmd": fedmd.build, "feddf": feddf.build},
)
REFERENCES: Mapping[str, type[MethodConfig]] = MappingProxyType({"fedavg": FedAvgConfig, "fedprox": FedProxConfig})
"""Methods whose server step is Flower's own; `federation.references` builds them."""


def available_methods() -> tuple[str, ...]:
    """Names that `method.name` takes, besides import paths."""
    return (*_BUILDERS, *REFERENCES)


def _builder(name: str) -> Builder:
    if name in _BUILDERS:
        return _BUILDERS[name]
    if ":" not in name:
        allowed = f"one of {', '.join(available_methods())}, or package.module:builder"
        raise ConfigError("method.name", name, allowed + nearest(name, available_methods()))

    def refused(message: str) -> ConfigError:
        return ConfigError("method.name", name, message)

    builder: Builder = import_from_path(name, refused)
    return builder


def method_config_type(name: str) -> type[MethodConfig]:
    """Return the type of `[method]` for this name.

    Raises:
        ConfigError: no such method, or the builder's argument is not annotated with a `MethodConfig`.
    """
    if name in REFERENCES:
        return REFERENCES[name]
    types = _argument_types(_builder(name))
    if len(types) != 1 or not (isinstance(types[0], type) and issubclass(types[0], MethodConfig)):
        raise ConfigError("method.name", name, "a builder takes one argument, annotated with a MethodConfig")
    return types[0]


def _argument_types(builder: Any) -> list[Any]:
    """Annotations of a builder's arguments; none where it cannot be called or an annotation does not resolve."""
    try:
        return [argument.annotation for argument in inspect.signature(builder, eval_str=True).parameters.values()]
    except (TypeError, ValueError, NameError, AttributeError):
        return []


_MOST_BUILT = 16
_BUILT: dict[tuple[type[MethodConfig], str], Method] = {}


def build_method(config: MethodConfig) -> Method:
    """Compose the method that the configuration names. A builder is called once a process for one configuration.

    Raises:
        ConfigError: no such method, or one of `REFERENCES`.
    """
    if config.name in REFERENCES:
        raise ConfigError("method.name", config.name, f"one of {', '.join(_BUILDERS)}; the host composes references")
    key = (type(config), config.model_dump_json())
    if key not in _BUILT:
        method = _build(config)
        if len(_BUILT) >= _MOST_BUILT:
            _BUILT.clear()
        _BUILT[key] = method
    return _BUILT[key]


def _build(config: MethodConfig) -> Method:
    method = _builder(config.name)(config)
    if not isinstance(method, Method):
        raise ConfigError("method.name", config.name, f"a builder returns a Method; this one a {type(method).__name__}")
    return method
