"""Parts of an experiment that a configuration names: registered ones by name, anybody's by import path.

    aggregator = "median_logits"                                a name alone
    aggregator = { name = "my_rules:TrustOverRounds", eta = 5 }  an import path, with arguments

A part is a class or a function; the further keys of its table are its arguments, which are checked against the
annotations of its parameters before it is called.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, get_origin

from pydantic import ConfigDict, Field, ValidationError, create_model, model_validator

from fedkd.errors import ConfigError, FedkdError, nearest
from fedkd.types import Section, import_from_path

T = TypeVar("T")


class PartConfig(Section):
    """The table of one part: its name or import path, and its arguments."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(description="a registered name, or package.module:name; further keys are its arguments")

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @property
    def arguments(self) -> dict[str, Any]:
        """What the part is called with."""
        return dict(self.model_extra or {})


def build_part(
    part: PartConfig, registered: Mapping[str, Callable[..., T]], key: str, kind: type[T] | None = None
) -> T:
    """Make the part that a configuration names.

    Args:
        part: its name and arguments.
        registered: parts by name.
        key: dotted path of the part in the configuration, for errors.
        kind: what the result must be an instance of; `None` for anything.

    Raises:
        ConfigError: no such part, an argument that it does not take or that is not allowed, or a part of another kind.
    """
    factory = find_part(part.name, registered, key)
    arguments = _checked(factory, part, key)
    try:
        made = factory(**arguments)
    except FedkdError:
        raise
    except Exception as cause:  # the code of a part is anybody's
        raise ConfigError(key, part.name, f"a part that can be made ({type(cause).__name__}: {cause})") from cause
    if kind is not None and not isinstance(made, kind):
        raise ConfigError(key, part.name, f"a {kind.__name__}; this makes a {type(made).__name__}")
    return made


def find_part(name: str, registered: Mapping[str, T], key: str) -> T:
    """Return what is registered under `name`, or import it.

    Raises:
        ConfigError: nothing is registered under that name, and it is no import path that can be followed.
    """
    if name in registered:
        return registered[name]
    if ":" not in name:
        allowed = f"one of {', '.join(registered)}, or package.module:name"
        raise ConfigError(key, name, allowed + nearest(name, registered))
    found: T = import_from_path(name, lambda message: ConfigError(key, name, message))
    return found


def _checked(factory: Callable[..., Any], part: PartConfig, key: str) -> dict[str, Any]:
    """The arguments as the factory's annotations have them."""
    try:
        parameters = inspect.signature(factory, eval_str=True).parameters.values()
    except (TypeError, ValueError, NameError, AttributeError) as cause:
        raise ConfigError(key, part.name, f"a class or function with a signature ({cause})") from cause
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    fields: dict[str, Any] = {f"argument{number}": _field(p) for number, p in enumerate(named)}
    model = create_model("Arguments", __base__=_Arguments, **fields)
    try:
        values = model.model_validate(part.arguments)
    except ValidationError as cause:
        raise _argument_error(cause, key, [p.name for p in named]) from cause
    return {p.name: getattr(values, field) for field, p in zip(fields, named, strict=True) if p.name in part.arguments}


class _Arguments(Section):
    model_config = ConfigDict(arbitrary_types_allowed=True, validate_default=False)


def _field(parameter: inspect.Parameter) -> tuple[Any, Any]:
    annotation = Any if parameter.annotation is parameter.empty else parameter.annotation
    default = ... if parameter.default is parameter.empty else parameter.default
    strict = False if get_origin(annotation) is tuple else None  # TOML has lists only
    return annotation, Field(default, alias=parameter.name, strict=strict)


def _argument_error(cause: ValidationError, key: str, known: list[str]) -> ConfigError:
    problem = cause.errors(include_url=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = f"not an argument of this part{nearest(name, known)}; it has {', '.join(sorted(known)) or 'none'}"
    else:
        allowed = str(problem["msg"]).removeprefix("Value error, ")
    return ConfigError(f"{key}.{name}", problem["input"], allowed)
