"""Links lead somewhere, read as files of the project. What the site makes of them is checked when it is built."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from markdown.extensions.toc import slugify
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
READMES = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "simulations/README.md",
    "benchmarks/README.md",
    "docker/README.md",
)
DOCUMENTS = [*READMES, *sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md"))]


def tokens(path: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(path.read_text(encoding="utf-8"))


def targets(path: Path) -> Iterator[str]:
    """Where links and images of a file lead."""
    for token in tokens(path):
        for child in token.children or ():
            target = child.attrGet("href") or child.attrGet("src")
            if target is not None:
                yield str(target)


def anchors(path: Path) -> set[str]:
    """Of the headings of a file."""
    pairs = pairwise(tokens(path))
    return {slugify(text.content, "-") for heading, text in pairs if heading.type == "heading_open"}


def is_followed(path: Path, target: str) -> bool:
    name, _, anchor = target.partition("#")
    file = path.parent / name if name else path
    return file.exists() and (not anchor or file.suffix != ".md" or anchor in anchors(file))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document: str) -> None:
    path = ROOT / document
    inside = [target for target in targets(path) if not target.startswith("https://")]
    assert [target for target in inside if not is_followed(path, target)] == []


@pytest.mark.parametrize("target", ["docs/nothing.md", "docs/concepts.md#nothing", "#nothing"])
def test_a_broken_link_is_seen(target: str) -> None:
    assert not is_followed(ROOT / "README.md", target)
