"""What is wrong with a configuration: errors that name key, value, what is allowed, and the nearest valid key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from fedkd.errors import ConfigError, FedkdError, nearest

RENAMED: Mapping[str, str] = MappingProxyType(
    {
        "run.bounds": "run.baselines",
        **{
            f"method.{key}": f"student.objective.{key}, and method.local_distillation.objective.{key} for clients"
            for key in ("temperature", "alpha", "label_smoothing")
        },
        "method.digestion": "method.local_distillation, whose loss and terms are in its section objective",
        "student.loss": "student.objective.loss",
        "student.terms": "student.objective.terms",
        "method.sharpening": "method.refine, a list of parts",
        "method.era_temperature": "method.refine = [{ name = 'entropy_reduction', temperature = … }]",
    }
)
"""Keys of earlier versions, and what each is now."""


def config_error(cause: ValidationError, root: type[BaseModel], section: str = "") -> ConfigError:
    """Turn the first problem of `cause` into a `ConfigError`; the rest are counted in it.

    Args:
        cause: what pydantic raised on validating `root`.
        root: the model that was validated, with whose keys unknown ones are compared.
        section: dotted path of `root` in the file; empty for the whole file.
    """
    problems = cause.errors(include_url=False)
    first = problems[0]
    allowed = _allowed(first, root, section)
    if len(problems) > 1:
        allowed += f" (and {len(problems) - 1} more: {', '.join(_dotted(p['loc'], section) for p in problems[1:])})"
    return ConfigError(_dotted(first["loc"], section), first["input"], allowed)


@contextmanager
def blaming_builder(name: str) -> Iterator[None]:
    """Importing and calling a user's builder runs any code: what it raises becomes a `ConfigError` with its cause."""
    try:
        yield
    except FedkdError:
        raise
    except Exception as cause:
        raise ConfigError("method.name", name, f"a builder that works ({type(cause).__name__}: {cause})") from cause


def _dotted(location: Sequence[str | int], section: str) -> str:
    return ".".join(str(part) for part in ((section, *location) if section else location))


def _allowed(problem: ErrorDetails, root: type[BaseModel], section: str) -> str:
    if problem["type"] != "extra_forbidden":
        return str(problem["msg"]).removeprefix("Value error, ")
    renamed = RENAMED.get(_dotted(problem["loc"], section))
    if renamed is not None:
        return f"no longer a key; it is now {renamed}"
    *sections, unknown = (str(part) for part in problem["loc"])
    known = _known_keys(root, sections)
    path = _dotted(sections, section)
    place = f"[{path}]" if path else "the file"
    return f"not a key of {place}{nearest(unknown, known)}; it has {', '.join(sorted(known))}"


def _known_keys(model: type[BaseModel], sections: list[str]) -> list[str]:
    for section in sections:
        annotation = model.model_fields[section].annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)


def read_toml(path: Path | str, argument: str = "CONFIG") -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: the file cannot be read or parsed; the error names it as the value of `argument`.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as cause:
        raise ConfigError(argument, str(path), f"a readable TOML file ({cause.strerror})") from cause
    except ValueError as cause:  # not TOML, not UTF-8, or a number beyond Python's limit
        raise ConfigError(argument, str(path), f"valid TOML ({cause})") from cause
