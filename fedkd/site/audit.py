"""The audit log of a site: one JSON object a line, for everything that was asked, and what left or why it did not.

Lines are only ever added, and reach the disk before the reply leaves.
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
    """Appends to a file that its owner alone may read.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def released(self, run_id: int, server_round: int | None, asked: str, kind: str, queries: int, sent: bytes) -> None:
        """Write down that something leaves.

        Args:
            run_id: Flower's number of the run.
            server_round: from 1; `None` where what was asked belongs to no round.
            asked: the type of the message.
            kind: what leaves, in a word or two.
            queries: public samples that were answered.
            sent: all of it, as bytes.

        Raises:
            RunFolderError: the disk refuses; nothing may leave then.
        """
        digest = hashlib.sha256(sent).hexdigest()
        payload = {"released": kind, "public_samples": queries, "bytes": len(sent), "sha256": digest}
        self._append(run_id, server_round, asked, payload)

    def refused(self, run_id: int, server_round: int | None, asked: str, reason: str) -> None:
        """Write down that nothing leaves but `reason`; raises as `released` does."""
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
