"""Snapshots of a run: what its server and clients carry from one round to the next.

    snapshots/
      round-000007.json               which files make up the snapshot after round 7, and their SHA-256
      server-000007.safetensors       the server's arrays
      client-000003-000005.state      what client 3 kept, as of round 5; the snapshot after round 7 may refer to it

Guarantees:
    - A snapshot is whole or not there: its index is written last, and every file it names is held against its hash.
    - The last two snapshots stay, so that a damaged one costs one round. Files that neither needs are removed.
    - A client's state is written when it changed, not in every round.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy.typing as npt
from pydantic import ValidationError

from fedkd.errors import RunFolderError
from fedkd.records import Record
from fedkd.storage import tensors
from fedkd.storage.files import first_problem, naming_failures, read_bytes, write_atomically

logger = logging.getLogger(__name__)

_KEPT = 2


@dataclass(frozen=True)
class Snapshot:
    """The state after a round: the server's arrays by name, and what each client kept (clients that keep nothing are
    left out).
    """

    server_round: int
    server: Mapping[str, npt.NDArray[Any]]
    clients: Mapping[int, bytes]


class _File(Record):
    name: str
    sha256: str


class _Index(Record):
    server_round: int
    server: _File
    clients: dict[int, _File]


class SnapshotStore:
    """Writes and reads the snapshots in one folder. Every method raises `RunFolderError` where the disk refuses."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._clients: dict[int, _File] = {}

    def write(
        self, server_round: int, server: Mapping[str, npt.NDArray[Any]], changed: Iterable[tuple[int, bytes]]
    ) -> None:
        """Write the snapshot after a round.

        Args:
            server_round: from 1.
            server: the server's arrays.
            changed: what clients keep, of those where it may have changed since the last snapshot.
        """
        with naming_failures("make the folder", self.path):
            self.path.mkdir(exist_ok=True)
        server_file = self._put(f"server-{server_round:06d}.safetensors", tensors.pack(server, {}))
        for client, state in changed:
            self._clients[client] = self._put(f"client-{client:06d}-{server_round:06d}.state", state)
        index = _Index(server_round=server_round, server=server_file, clients=self._clients)
        write_atomically(self._index_path(server_round), index.model_dump_json().encode())
        self._prune(server_round)

    def read_latest(self) -> Snapshot | None:
        """Return the newest snapshot that is whole, or `None`; damaged ones are named in the log.

        What is written next goes on from it.
        """
        for index_path in reversed(self._index_paths()):
            try:
                index = _read_index(index_path)
                snapshot = Snapshot(
                    index.server_round,
                    tensors.unpack_bytes(self._get(index.server), self.path / index.server.name),
                    {client: self._get(file) for client, file in index.clients.items()},
                )
            except RunFolderError as damage:
                logger.warning("snapshot %s is damaged and is left out: %s", index_path, damage)
                continue
            self._clients = dict(index.clients)
            return snapshot
        return None

    def clear(self) -> None:
        """Remove all snapshots: the run is over."""
        if self.path.exists():
            with naming_failures("remove", self.path):
                rmtree(self.path)

    def _index_path(self, server_round: int) -> Path:
        return self.path / f"round-{server_round:06d}.json"

    def _index_paths(self) -> list[Path]:
        return sorted(path for path in self.path.glob("round-*.json") if re.fullmatch(r"round-\d+\.json", path.name))

    def _put(self, name: str, content: bytes) -> _File:
        write_atomically(self.path / name, content)
        return _File(name=name, sha256=hashlib.sha256(content).hexdigest())

    def _get(self, file: _File) -> bytes:
        content = read_bytes(self.path / file.name)
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise RunFolderError(f"{self.path / file.name} does not have the SHA-256 that its index names")
        return content

    def _prune(self, server_round: int) -> None:
        """Remove what the last snapshots do not need, and whatever lies beyond the round that was just written."""
        kept = [path for path in self._index_paths() if path <= self._index_path(server_round)][-_KEPT:]
        needed = {path.name for path in kept}
        for path in kept:
            try:
                index = _read_index(path)
            except RunFolderError:  # damaged; named when it was read
                continue
            needed |= {index.server.name, *(file.name for file in index.clients.values())}
        for path in self.path.iterdir():
            if path.name not in needed:
                with naming_failures("remove", path):
                    path.unlink()


def _read_index(path: Path) -> _Index:
    try:
        return _Index.model_validate_json(read_bytes(path))
    except ValidationError as cause:
        raise RunFolderError(f"{path} is not the index of a snapshot: {first_problem(cause)}") from cause
