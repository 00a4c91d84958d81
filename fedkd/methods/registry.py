"""Methods by name, or by the import path of a user's own builder.

A builder is a function of one annotated argument, `build(config: SomeMethodConfig) -> Method`; the annotation says
which keys `[method]` takes.
"""

from __future__ import annotations

import typing
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
    builder = _builder(name)
    hints = [hint for key, hint in typing.get_type_hints(builder).items() if key != "return"]
    if len(hints) != 1 or not (isinstance(hints[0], type) and issubclass(hints[0], MethodConfig)):
        raise ConfigError("method.name", name, "a builder takes one argument, annotated with a MethodConfig")
    return hints[0]


def build_method(config: MethodConfig) -> Method:
    """Compose the method that the configuration names.

    Raises:
        ConfigError: no such method, or one of `REFERENCES`.
    """
    return _builder(config.name)(config)
