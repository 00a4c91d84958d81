"""The site as it is built: no warning, and nothing in it that a browser would fetch from the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

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
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    configuration = ("--config-file", str(ROOT / "docs" / "site" / "mkdocs.yml"))
    result = subprocess.run([*command, *configuration], env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    return folder


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
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


def test_what_a_user_calls_is_in_the_reference(site: Path) -> None:
    pages = {page.stem: page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html")}
    assert 'id="fedkd.config.load_config"' in pages["python"]
    assert 'id="fedkd.losses.kd_loss"' in pages["losses"]
    assert 'id="fedkd.data.config.PartitionConfig.dirichlet_alpha"' in pages["configuration"]
    assert "--resume" in pages["commands"]
