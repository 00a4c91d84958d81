"""The site as it is built: no warning, and nothing in it that a browser would fetch from the network."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import typer.main

import fedkd
from fedkd.cli.main import app
from fedkd.config.experiment import ExperimentConfig
from fedkd.parts import PartConfig
from fedkd.types import Section

ROOT = Path(__file__).parents[2]
LOADED = {"src", "srcset", "data", "poster"}
"""Attributes that a browser loads; `href` is one only on `<link>`."""


class _Loads(HTMLParser):
    """Collects what a page loads from elsewhere."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loads = LOADED | ({"href"} if tag == "link" and ("rel", "canonical") not in attrs else set())
        self.found += [value for name, value in attrs if name in loads and re.match(r"(https?:)?//", value or "")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    configuration = ("--config-file", str(ROOT / "docs" / "site" / "mkdocs.yml"))
    result = subprocess.run([*command, *configuration], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    assert all("mermaid" not in page.read_text(encoding="utf-8") for page in pages)  # its renderer is on a network
    assert {page.name: found for page in pages if (found := _Loads(page).found)} == {}


def test_no_style_sheet_loads_anything_from_elsewhere(site: Path) -> None:
    sheets = list(site.rglob("*.css")) + list(site.rglob("*.svg"))
    assert sheets
    loaded = r"url\(\s*[\"']?(?:https?:)?//|@import"
    assert [sheet.name for sheet in sheets if re.search(loaded, sheet.read_text(encoding="utf-8"))] == []


def test_a_page_that_loads_from_elsewhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<script src="https://cdn.example/x.js"></script><link rel="stylesheet" href="//fonts.example/f">')
    assert _Loads(page).found == ["https://cdn.example/x.js", "//fonts.example/f"]


def test_a_link_out_of_the_site_is_text(site: Path) -> None:
    page = (site / "results.html").read_text(encoding="utf-8")
    assert "<td><code>digits.toml</code></td>" in page


@pytest.fixture(scope="module")
def reference(site: Path) -> dict[str, str]:
    """The pages of the reference by name."""
    return {page.stem: page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html")}


def test_every_command_and_option_is_in_the_reference(reference: dict[str, str]) -> None:
    top = typer.main.get_command(app).commands
    nested = {
        f"{name} {each}": command
        for name, group in top.items()
        for each, command in getattr(group, "commands", {}).items()
    }
    for name, command in {
        name: each for name, each in top.items() if not hasattr(each, "commands")
    }.items() | nested.items():
        assert f">fedkd {name}<" in reference["commands"]
        for option in (each for each in command.params if each.opts[0].startswith("--")):
            assert f"<code>{', '.join(option.opts)}" in reference["commands"]


def test_every_key_is_in_the_reference(reference: dict[str, str]) -> None:
    def paths(section: Section, path: str) -> Iterator[tuple[str, str]]:
        for key in type(section).model_fields:
            value = getattr(section, key)
            nested = isinstance(value, Section) and not isinstance(value, PartConfig)
            yield from paths(value, f"{path}.{key}".strip(".")) if nested else [(path, key)]

    page = reference["configuration"]
    for path, key in paths(ExperimentConfig(), ""):
        assert f"<code>[{path}]</code>" in page
        assert f"<td><code>{key}</code></td>" in page
    assert "<td><code>0.3</code></td>\n<td>number &gt; 0</td>" in page  # dirichlet_alpha


@pytest.mark.parametrize("package", ["aggregation", "data", "distillation", "losses", "methods", "models", "payload"])
def test_what_a_package_exports_is_in_the_reference(package: str, reference: dict[str, str]) -> None:
    exported = importlib.import_module(f"fedkd.{package}").__all__
    names = {name for name in exported if not name.endswith("Config")}  # these are tables of keys
    assert {name for name in names if not re.search(rf'id="fedkd\.[\w.]*\b{name}"', reference[package])} == set()


def test_what_the_package_exports_is_in_the_reference(reference: dict[str, str]) -> None:
    pages = "".join(reference.values())
    missing = {name for name in fedkd.__all__ if not re.search(rf'id="fedkd\.[\w.]*\b{name}"', pages)}
    assert missing == {"ExperimentConfig", "__version__"}  # the configuration is a page of tables
