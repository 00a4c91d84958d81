"""A table of plain text, which a page, a Markdown file and a terminal show alike."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextTable:
    """Headings, and rows of as many cells; the first cell of a row names it.

    Args:
        head: one heading for each column.
        rows: one text for each column.
        kinds: one character for each column: `n` for numbers, which are aligned right, and `t` for text.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kinds: str

    @classmethod
    def of_numbers(cls, head: tuple[str, ...], rows: tuple[tuple[str, ...], ...]) -> TextTable:
        """Return a table of which every column holds numbers."""
        return cls(head, rows, "n" * len(head))
