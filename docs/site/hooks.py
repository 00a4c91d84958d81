"""Fills the two pages of the reference that are read off the program itself, its commands and its keys; and makes plain
text of links to files that are no part of the site.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import click
import typer.main
from pydantic.fields import FieldInfo

from fedkd.cli.main import app
from fedkd.config.experiment import ExperimentConfig
from fedkd.methods import MethodConfig, available_methods, method_config_type
from fedkd.parts import PartConfig
from fedkd.types import Section

DOCS = Path(__file__).resolve().parents[1]
LINK_UPWARDS = re.compile(r"\[(?P<text>[^]]+)\]\((?P<target>\.\./[^)#]+)[^)]*\)")
SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
NO_LIMIT = 2**63
"""That of a machine's integers, which nobody needs to read."""
KINDS: dict[Any, str] = {int: "integer", float: "number", str: "text", bool: "`true`, `false`", PartConfig: "part"}


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Add what is made to the page that it belongs to; MkDocs calls this for every page."""
    uri = page.file.src_uri
    made = {"reference/commands.md": commands, "reference/configuration.md": configuration}.get(uri)
    text = LINK_UPWARDS.sub(lambda link: _without_target(link, DOCS / uri), markdown)
    return text if made is None else "\n".join([text, *made()])


def _without_target(link: re.Match[str], page: Path) -> str:
    """The text of a link that leads out of the documentation, to a file that is there; else the link as it is."""
    target = (page.parent / link["target"]).resolve()
    return link["text"] if target.exists() and not target.is_relative_to(DOCS) else link[0]


def commands() -> Iterator[str]:
    """Each command with its usage, arguments, options and examples."""
    for name, command in _commands(typer.main.get_command(app), "fedkd"):
        context = click.Context(command, info_name=name)
        yield f"\n## {name}\n\n{command.help}\n"
        yield f"```text\n{context.get_usage().removeprefix('Usage: ')}\n```\n"
        yield from _table(("argument or option", "meaning"), (_parameter(each) for each in command.params))
        examples = (command.epilog or "").partition(":")[2].split("·")
        yield "\n".join(["\n```sh", *(example.strip() for example in examples), "```"])


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _parameter(parameter: click.Parameter) -> tuple[str, str]:
    names = parameter.opts if isinstance(parameter, click.Option) else []
    takes_value = not getattr(parameter, "is_flag", False)
    what = ", ".join(names) + (f" {parameter.metavar}" if takes_value else "")
    return f"`{what.strip()}`", str(getattr(parameter, "help", None) or "")


def configuration() -> Iterator[str]:
    """Each section with its keys, then the keys that single methods add."""
    yield from _section("", ExperimentConfig())
    for name in available_methods():
        kind = method_config_type(name)
        added = {key: field for key, field in kind.model_fields.items() if key not in MethodConfig.model_fields}
        if added:
            yield f'\n## `[method]` with `name = "{name}"`\n'
            yield from _keys(added, kind())


def _section(path: str, section: Section) -> Iterator[str]:
    kind = MethodConfig if isinstance(section, MethodConfig) else type(section)
    fields = kind.model_fields
    nested = {key: value for key in fields if _is_section(value := getattr(section, key))}
    keys = {key: field for key, field in fields.items() if key not in nested}
    if path:
        yield f"\n## `[{path}]`\n\n{' '.join((kind.__doc__ or '').split())}\n"
        yield from _keys(keys, section)
    for key, inner in nested.items():
        yield from _section(f"{path}.{key}".strip("."), inner)


def _is_section(value: object) -> bool:
    return isinstance(value, Section) and not isinstance(value, PartConfig)


def _keys(fields: dict[str, FieldInfo], section: Section) -> Iterator[str]:
    rows = ((f"`{key}`", _default(getattr(section, key)), _allowed(field)) for key, field in fields.items())
    described = ((*row, str(field.description)) for row, field in zip(rows, fields.values(), strict=True))
    yield from _table(("key", "default", "allowed", "meaning"), described)


def _default(value: object) -> str:
    value = value.model_dump() if isinstance(value, PartConfig) else value
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _allowed(field: FieldInfo) -> str:
    """What a key takes: the values of a literal, or a type with its range."""
    choices = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{json.dumps(value)}`" for value in choices)
    if get_origin(field.annotation) is tuple:
        if PartConfig in choices:
            return "list of parts"
        tables = [kind for kind in choices if isinstance(kind, type) and issubclass(kind, Section)]
        return "list of tables" if tables else "list of numbers" if float in choices else "list of names"
    kind = choices[0] if choices else field.annotation
    limits = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in SIGNS.items()
        if getattr(limit, name, None) not in (None, NO_LIMIT)
    ]
    return " ".join([KINDS[kind], ", ".join(limits)]).strip()


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "| " + " | ".join("---" for _ in head) + " |"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in row) + " |"
