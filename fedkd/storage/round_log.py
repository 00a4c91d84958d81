"""`rounds.jsonl`: one round a line, on disk before the next round begins.

Guarantees:
    - Once `append_round` returns, the round survives a crash of the process and of the machine.
    - A line that a crash cut short is never taken for a round, and never spoils the one after it; the log names it.
    - A complete line that does not hold a round is an error with its number, wherever it stands.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from fedkd.errors import RunFolderError
from fedkd.records import RoundRecord
from fedkd.storage.files import first_problem, naming_failures, read_bytes, write_atomically

logger = logging.getLogger(__name__)


def append_round(path: Path, record: RoundRecord) -> None:
    """Append one round. A torn line that an earlier crash left at the end is cut off first, and logged.

    Raises:
        RunFolderError: the file cannot be written, or the disk is full.
    """
    line = _line(record)
    with naming_failures("append to", path), path.open("ab+") as file:
        _cut_torn_line(file, path)
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def read_rounds(path: Path) -> tuple[RoundRecord, ...]:
    """Return the rounds written so far; none where the file does not exist yet.

    A last line without its newline was torn by a crash, or is being written now: it is left out, and logged
    as a warning with its number.

    Raises:
        RunFolderError: the file cannot be read, or a complete line does not hold a round.
    """
    if not path.exists():
        return ()
    *complete, torn = read_bytes(path).split(b"\n")
    if torn:
        _warn_torn(path, len(complete) + 1, len(torn))
    return tuple(_parse(path, line_number, line) for line_number, line in enumerate(complete, start=1))


def keep_rounds(path: Path, rounds: int) -> tuple[RoundRecord, ...]:
    """Cut the file after its first `rounds` rounds, and return those.

    Raises:
        RunFolderError: it holds fewer, or cannot be written.
    """
    kept = read_rounds(path)[:rounds]
    if len(kept) < rounds:
        raise RunFolderError(f"{path} holds {len(kept)} rounds; the snapshot is of round {rounds}")
    if path.exists():
        write_atomically(path, b"".join(_line(record) for record in kept))
    return kept


def _line(record: RoundRecord) -> bytes:
    return record.model_dump_json().encode() + b"\n"


def _parse(path: Path, line_number: int, line: bytes) -> RoundRecord:
    try:
        return RoundRecord.model_validate_json(line)
    except ValidationError as cause:
        raise RunFolderError(f"{path}, line {line_number} does not hold a round: {first_problem(cause)}") from cause


def _cut_torn_line(file: BinaryIO, path: Path) -> None:
    if file.seek(0, os.SEEK_END) == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    content = file.read()
    kept = content.rfind(b"\n") + 1
    _warn_torn(path, content.count(b"\n") + 1, len(content) - kept)
    file.truncate(kept)


def _warn_torn(path: Path, line_number: int, length: int) -> None:
    logger.warning("%s, line %d is torn after %d bytes and is left out", path, line_number, length)
