"""Parts of an experiment that a configuration names: registered ones by name, anybody's by import path.

    aggregator = "median_logits"                                a name alone
    aggregator = { name = "my_rules:TrustOverRounds", eta = 5 }  an import path, with arguments

A part is a class or a function; the further keys of its table are its arguments, which are checked against the
annotations of its parameters before it is called. Two kinds of parts:

    build_part    what the class or function returns is the part (an aggregator, a term of a loss)
    bind_part     the function itself is the part; fedkd calls it with values of its own, the arguments are filled in
                  (an augmentation is called with a batch and a generator, a metric with logits and labels)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)

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

    @model_serializer(mode="wrap")
    def _as_written(self, serialize: SerializerFunctionWrapHandler) -> Any:
        """A part without arguments is its name alone."""
        return serialize(self) if self.model_extra else self.name

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
    arguments = _checked(_named(_parameters(factory, part, key)), part, key)
    return call_part(factory, part, key, kind)(**arguments)


def bind_part(
    part: PartConfig,
    registered: Mapping[str, Callable[..., T]],
    key: str,
    positional: int,
    keywords: Collection[str] = (),
) -> Callable[..., T]:
    """Return the function that a configuration names, with the arguments of its table filled in.

    Args:
        part: its name and arguments.
        registered: functions by name.
        key: dotted path of the part in the configuration, for errors.
        positional: how many values its caller passes by position.
        keywords: what its caller passes by name; these are no arguments of the table.

    Raises:
        ConfigError: no such part, an argument that it does not take or that is not allowed, or a function that takes
            fewer values than its caller passes.
    """
    function = find_part(part.name, registered, key)
    parameters = _parameters(function, part, key)
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(by_position) < positional and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        taken = f"this takes {len(by_position)}"
        raise ConfigError(key, part.name, f"a function that is called with {positional} values by position; {taken}")
    passed = {p.name for p in by_position[:positional]} | set(keywords)
    return partial(function, **_checked([p for p in _named(parameters) if p.name not in passed], part, key))


def call_part(function: Callable[..., T], part: PartConfig, key: str, kind: type[T] | None = None) -> Callable[..., T]:
    """Let a part's function raise a `ConfigError` for whatever it raises, and where it returns another kind of thing.

    Args:
        function: what makes the part.
        part: what the configuration says, for errors.
        key: its dotted path.
        kind: what the function must return an instance of; `None` for anything.
    """

    def call(*values: Any, **keywords: Any) -> T:
        try:
            made = function(*values, **keywords)
        except FedkdError:
            raise
        except Exception as cause:  # the code of a part is anybody's
            raise ConfigError(key, part.name, f"it cannot be made ({type(cause).__name__}: {cause})") from cause
        if kind is not None and not isinstance(made, kind):
            raise ConfigError(key, part.name, f"a {kind.__name__}; this makes a {type(made).__name__}")
        return made

    return call


def checked_by_binding(bind: Callable[[PartConfig, str], object]) -> AfterValidator:
    """Make a validator of a key from the function that binds its part, so that a part that cannot be used is refused
    when the configuration is read.

    Args:
        bind: takes a part and its dotted path; raises `ConfigError`.
    """

    def check(part: PartConfig) -> PartConfig:
        try:
            bind(part, "")
        except ConfigError as cause:
            argument = cause.key.removeprefix(".")
            said = f"{argument} = {cause.value!r}: {cause.allowed}" if argument else cause.allowed
            raise ValueError(said) from cause
        return part

    return AfterValidator(check)


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
    try:
        found: T = import_from_path(name, lambda message: ConfigError(key, name, message))
    except FedkdError:
        raise
    except Exception as cause:  # importing a module runs anybody's code
        raise ConfigError(key, name, f"a module that imports ({type(cause).__name__}: {cause})") from cause
    return found


def _parameters(factory: Callable[..., Any], part: PartConfig, key: str) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(factory, eval_str=True).parameters.values())
    except (TypeError, ValueError, NameError, AttributeError, SyntaxError) as cause:
        raise ConfigError(key, part.name, f"a class or function with a signature ({cause})") from cause


def _named(parameters: Sequence[inspect.Parameter]) -> list[inspect.Parameter]:
    return [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _checked(named: Sequence[inspect.Parameter], part: PartConfig, key: str) -> dict[str, Any]:
    """The arguments as the annotations of the parameters have them."""
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
    tuples = any(get_origin(each) is tuple for each in (annotation, *get_args(annotation)))  # also in `tuple | None`
    strict = False if tuples else None  # TOML has lists only
    return annotation, Field(default, alias=parameter.name, strict=strict)


def _argument_error(cause: ValidationError, key: str, known: list[str]) -> ConfigError:
    problem = cause.errors(include_url=False)[0]
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        allowed = f"not an argument of this part{nearest(name, known)}; it has {', '.join(sorted(known)) or 'none'}"
    else:
        allowed = str(problem["msg"]).removeprefix("Value error, ")
    return ConfigError(f"{key}.{name}", problem["input"], allowed)
