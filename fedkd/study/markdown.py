"""A study as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from fedkd.reporting.text_table import TextTable


def markdown_table(table: TextTable) -> str:
    """Return a table; what would end a cell is escaped."""
    rule = ["---:" if kind == "n" else "---" for kind in table.kinds]
    return "\n".join(_row(cells) for cells in (table.head, rule, *table.rows)) + "\n"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def document(title: str, *blocks: str) -> str:
    """Return a document; blocks are separated by an empty line, empty ones left out."""
    return "\n\n".join(part.strip("\n") for part in (f"# {title}", *blocks) if part) + "\n"
