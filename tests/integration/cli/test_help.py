from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import pytest

import fedkd
from fedkd.cli.main import main


@pytest.mark.parametrize("command", ["simulate", "study", "report", "watch", "predict", "data"])
def test_help_has_examples(command: str, invoke: Callable[..., str]) -> None:
    text = " ".join(invoke(command, "--help").split())
    assert f"fedkd {command} " in text.split("Example")[-1]


def test_help_lists_the_commands(invoke: Callable[..., str]) -> None:
    assert invoke("--help") == invoke("-h")
    for command in ("simulate", "study", "report", "watch", "predict", "data"):
        assert command in invoke("--help")


def test_the_installed_command_is_this_one(invoke: Callable[..., str]) -> None:
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="fedkd")
    assert entry.load() is main
    assert invoke("--version") == f"{fedkd.__version__}\n"
