"""The audit log of a site: one JSON object per line for every request, with what was sent or why nothing was.

Lines are only added, and are on disk before the reply is sent.
"""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedkd.errors import RunFolderError


class AuditLog:
    """Appends to a file that only its owner may read.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def released(self, run_id: int, server_round: int | None, asked: str, kind: str, queries: int, sent: bytes) -> None:
        """Record that a reply is sent.

        Args:
            run_id: Flower's number of the run.
            server_round: from 1; `None` if the request belongs to no round.
            asked: the type of the message.
            kind: what is sent, in a word or two.
            queries: number of public samples that were answered.
            sent: the whole content of the reply, as bytes.

        Raises:
            RunFolderError: the log cannot be written; the reply must not be sent then.
        """
        digest = hashlib.sha256(sent).hexdigest()
        payload = {"released": kind, "public_samples": queries, "bytes": len(sent), "sha256": digest}
        self._append(run_id, server_round, asked, payload)

    def refused(self, run_id: int, server_round: int | None, asked: str, reason: str) -> None:
        """Record that the request was refused, with the reason that the server gets; raises as `released` does."""
        self._append(run_id, server_round, asked, {"refused": reason})

    def _append(self, run_id: int, server_round: int | None, asked: str, outcome: dict[str, Any]) -> None:
        time = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": time, "run": str(run_id), "round": server_round, "asked": asked, **outcome})
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with open(handle, "ab") as file:
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(handle)
        except OSError as cause:
            raise RunFolderError(f"cannot write {self._path}: {cause.strerror}") from cause
