"""Texts that a user wants predictions for: one file, a folder of files, or JSON lines."""

from __future__ import annotations

from pathlib import Path

from fedkd.data.jsonl_source import is_jsonl, read_texts
from fedkd.errors import DataError


def load_texts(path: Path) -> tuple[list[str], list[str]]:
    """Return names and texts.

    Args:
        path: a .txt file in UTF-8, which is one text; a folder of them, subfolders included; or a file of JSON lines
            (.jsonl, .jsonl.gz), each with the key `text`.

    Returns:
        N names (paths relative to the folder, the file's name, or `file[row]`) and N texts.

    Raises:
        DataError: nothing there, nothing in it, or not to be read; the message names the path.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".txt" and file.is_file())
        if not files:
            raise DataError(f"folder {str(path)!r} holds no texts; expected *.txt")
        return [file.relative_to(path).as_posix() for file in files], [_read(file) for file in files]
    if is_jsonl(path):
        texts = read_texts(path)
        return [f"{path.name}[{row}]" for row in range(len(texts))], texts
    if path.suffix.lower() != ".txt" or not path.is_file():
        raise DataError(
            f"path {str(path)!r} is not there or holds no texts; allowed: a .txt file, a folder of them, "
            "a .jsonl or .jsonl.gz file"
        )
    return [path.name], [_read(path)]


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as cause:
        raise DataError(f"text file {str(path)!r} cannot be read ({cause})") from cause
    if not text.strip():
        raise DataError(f"text file {str(path)!r} is empty; allowed: a text that is not blank")
    return text
