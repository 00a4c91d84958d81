"""What every command has in common: consoles, options, and errors as lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from fedkd.errors import FedkdError

out, err = Console(), Console(stderr=True)

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a key of the file; can be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print only one JSON object on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors: no progress and no tables.")]


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """One line on standard error for whatever goes wrong; the traceback of a defect only with FEDKD_DEBUG=1."""
    try:
        yield
    except FedkdError as error:
        print_error(f"error: {error}")
        raise typer.Exit(error.exit_code) from error
    except Exception as error:  # the last line of defence: a person gets a sentence, not a traceback
        if isinstance(error, typer.Exit) or os.environ.get("FEDKD_DEBUG"):
            raise
        print_error(f"unexpected error: {type(error).__name__}: {error} (FEDKD_DEBUG=1 shows where)")
        raise typer.Exit(1) from error


def print_error(message: str) -> None:
    """Print one line on standard error."""
    err.print(" ".join(message.split()), style="red", highlight=False, markup=False, soft_wrap=True)
