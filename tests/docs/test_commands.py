"""Every command and every block of Python in the documentation runs, or elsewhere.toml says why not.

The blocks of a page run in its order, in a folder of their own that holds `simulations/`. Commands of fedkd run in this
process, since starting one takes seconds. Every experiment is shortened by `SHORTER`, and no report is drawn, which
takes seconds too: tests/integration/cli does both in full.
"""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import typer.main
from markdown_it import MarkdownIt
from PIL import Image
from typer.testing import CliRunner

from fedkd import deploy, experiment, offline, run_reports
from fedkd.cli.main import app
from fedkd.config import experiment as config
from fedkd.config.experiment import ExperimentConfig
from fedkd.offline import OfflineConfig
from fedkd.site import settings
from fedkd.study import terminal

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "CONTRIBUTING.md", "simulations/README.md", "benchmarks/README.md", "docker/README.md")
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))
DOCUMENTS = [*READMES, *PAGES]
GROUPS = tomllib.loads((Path(__file__).parent / "elsewhere.toml").read_text(encoding="utf-8"))["group"]
ELSEWHERE = {command for group in GROUPS for command in group["commands"]}
LANGUAGES = {"sh", "python", "toml", "text"}
RUN_HERE = (
    "client",
    "config",
    "data",
    "distill",
    "identities",
    "predict",
    "report",
    "simulate",
    "study",
    "temperature",
    "watch",
)
SHORTER_OFFLINE = ("teacher.epochs=1", "student.epochs=1")
SHORTER = ("run.rounds=1", "run.baselines=false", "training.epochs=1", "student.epochs=1")
PLACEHOLDERS = {"DATA": "data", "METHOD": "fkd", "ALPHA": "0.1", "SEED": "0", "NAME": "digits-methods"}


class Block(NamedTuple):
    """A block of code and the name under which the text before it says to save it, or an empty string."""

    language: str
    content: str
    file_name: str


def blocks(document: str) -> Iterator[Block]:
    text_before = ""
    for token in MarkdownIt("commonmark").parse((ROOT / document).read_text(encoding="utf-8")):
        if token.type == "inline":
            text_before = token.content
        elif token.type in {"fence", "code_block"}:
            saved = re.search(r"[Ss]ave as `([\w.]+)`:$", text_before)
            yield Block(token.info, token.content, saved[1] if saved else "")
            text_before = ""


def commands(block: Block) -> list[str]:
    """Lines of a shell block, continued ones joined, without comments."""
    lines = re.sub(r"\\\n\s*", "", block.content).splitlines()
    return [line for line in (re.sub(r"(^|\s+)#.*$", "", line) for line in lines) if line]


def shell_commands(documents: Iterable[str]) -> list[str]:
    return [line for page in documents for block in blocks(page) if block.language == "sh" for line in commands(block)]


EVERY_COMMAND = set(shell_commands(DOCUMENTS))


def runs_here(command: str) -> bool:
    words = shlex.split(command.removeprefix("PYTHONPATH=. "))
    script = words[0] == "python" and words[1].startswith("simulations/")
    return command not in ELSEWHERE and (script or (words[0] == "fedkd" and words[1] in RUN_HERE))


def run_command(command: str) -> None:
    words = shlex.split(command.removeprefix("PYTHONPATH=. "))
    if words[0] == "python":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", words[1:])
            runpy.run_path(words[1], run_name="__main__")
        return
    written = Path(words.pop()) if words[-2] == ">" else None
    result = CliRunner().invoke(app, words[1 : -1 if written else None])
    assert result.exit_code == 0, f"{command}: {result.stderr}"
    if written:
        written.write_text(result.stdout, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working folder of a page; modules that are saved in it are forgotten at the end."""
    shutil.copytree(ROOT / "simulations", tmp_path / "simulations")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    load_config = config.load_config

    def load_shorter(path: Path | str, overrides: Iterable[str] = ()) -> ExperimentConfig:
        return load_config(path, [*overrides, *SHORTER])

    load_offline = offline.load_offline_config

    def load_shorter_offline(path: Path | str, overrides: Iterable[str] = ()) -> OfflineConfig:
        return load_offline(path, [*overrides, *SHORTER_OFFLINE])

    monkeypatch.setattr(config, "load_config", load_shorter)
    monkeypatch.setattr(offline, "load_offline_config", load_shorter_offline)
    yield tmp_path
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_page_does_what_it_says(document: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "write_report", lambda run_dir: run_dir / "report.html")
    if document == "README.md":  # the quickstart shows how to make some
        (folder / "photos").mkdir()
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(folder / "photos" / "black.png")
    for block in blocks(document):
        if block.file_name:
            (folder / block.file_name).write_text(block.content, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.content, document, "exec"), {})  # noqa: S102 (our own documentation)
        elif block.language == "sh":
            for command in filter(runs_here, commands(block)):
                run_command(command)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_runs_here_or_is_listed(document: str) -> None:
    assert [line for line in shell_commands([document]) if not runs_here(line) and line not in ELSEWHERE] == []


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group["commands"][0])
def test_what_is_listed_occurs_and_is_tested_where_it_says(group: dict[str, str]) -> None:
    assert [line for line in group["commands"] if line not in EVERY_COMMAND] == []
    assert (ROOT / group["tested_by"]).is_file()


@pytest.mark.parametrize("command", sorted(command for command in ELSEWHERE if command.startswith("fedkd ")))
def test_what_runs_elsewhere_is_at_least_accepted(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    def stop(*_: object, **__: object) -> None:
        raise typer.Exit

    monkeypatch.setattr(experiment, "run", stop)
    monkeypatch.setattr(run_reports, "read_run", stop)
    monkeypatch.setattr(run_reports, "write_report", stop)
    monkeypatch.setattr(deploy, "initialise", stop)
    monkeypatch.setattr(deploy, "open_deployment", stop)
    monkeypatch.setattr(terminal, "run_and_report", stop)
    monkeypatch.setattr(settings, "load_site", stop)
    for placeholder, value in PLACEHOLDERS.items():
        command = re.sub(rf"\b{placeholder}\b", value, command)
    run_command(command)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_command_hides_in_a_block_of_another_kind(document: str) -> None:
    for block in blocks(document):
        assert block.language in LANGUAGES, f"a block without a language, or of an unknown one: {block.content}"
        if block.language == "text":
            assert not re.search(r"^\s*(\$ |fedkd |make |pip |python |flwr )", block.content, re.MULTILINE)
        if block.language == "toml":
            tomllib.loads(block.content)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_named_in_a_sentence_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = set(re.findall(r"`fedkd ([a-z]+)", text))
    assert named <= set(typer.main.get_command(app).commands)
