"""The arrays of rounds, kept where `run.save` asks for them.

    arrays/
      round-000003/
        rows.safetensors       what each client sent: `4/keys`, `4/values` and `4/weights` are those of client 4
        teacher.safetensors    `keys`, `values` and `weights`
        clients.safetensors    the weights that each client sent: `4/` and the name of a parameter

Guarantees:
    - A file is whole or not there, and that of a round that is run again is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy.typing as npt

from fedkd.errors import RunFolderError
from fedkd.payload.rows import Arrays, Rows
from fedkd.storage import tensors
from fedkd.storage.files import naming_failures, write_atomically

_ROWS, _TEACHER, _CLIENTS = "rows.safetensors", "teacher.safetensors", "clients.safetensors"


class RoundArraysStore:
    """Writes and reads the arrays of rounds in one folder. Every method raises `RunFolderError` where the disk refuses.

    Reading what was not kept of a round gives an empty mapping, or `None` for the teacher.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def rounds(self) -> tuple[int, ...]:
        """Rounds of which something is kept, ascending."""
        return tuple(sorted(int(path.name.removeprefix("round-")) for path in self._folders()))

    def write_rows(self, server_round: int, rows: Mapping[int, Rows]) -> None:
        """Write what each client sent."""
        self._write(server_round, _ROWS, _by_client({client: _arrays_of(each) for client, each in rows.items()}))

    def write_teacher(self, server_round: int, teacher: Rows) -> None:
        """Write the teacher."""
        self._write(server_round, _TEACHER, _arrays_of(teacher))

    def write_clients(self, server_round: int, weights: Mapping[int, Arrays]) -> None:
        """Write the weights that each client sent, by the names of its parameters."""
        self._write(server_round, _CLIENTS, _by_client(weights))

    def read_rows(self, server_round: int) -> dict[int, Rows]:
        """Return what each client sent."""
        path = self._file(server_round, _ROWS)
        return {client: _rows_of(arrays, path) for client, arrays in _clients_in(path).items()}

    def read_teacher(self, server_round: int) -> Rows | None:
        """Return the teacher."""
        path = self._file(server_round, _TEACHER)
        return _rows_of(tensors.unpack(path), path) if path.is_file() else None

    def read_clients(self, server_round: int) -> dict[int, dict[str, npt.NDArray[Any]]]:
        """Return the weights that each client sent."""
        return _clients_in(self._file(server_round, _CLIENTS))

    def keep(self, rounds: int) -> None:
        """Forget what came after the first `rounds` rounds."""
        for server_round in self.rounds:
            if server_round > rounds:
                with naming_failures("remove", self._folder(server_round)):
                    rmtree(self._folder(server_round))

    def _folders(self) -> list[Path]:
        return [path for path in self.path.glob("round-*") if re.fullmatch(r"round-\d+", path.name)]

    def _folder(self, server_round: int) -> Path:
        return self.path / f"round-{server_round:06d}"

    def _file(self, server_round: int, name: str) -> Path:
        return self._folder(server_round) / name

    def _write(self, server_round: int, name: str, arrays: Arrays) -> None:
        folder = self._folder(server_round)
        with naming_failures("make the folder", folder):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, tensors.pack(arrays, {"server_round": str(server_round)}))


def _arrays_of(rows: Rows) -> Arrays:
    return {"keys": rows.keys_N, "values": rows.values_ND, "weights": rows.weights_N}


def _rows_of(arrays: Arrays, path: Path) -> Rows:
    try:
        return Rows(arrays["keys"], arrays["values"], arrays["weights"])
    except KeyError as cause:
        raise RunFolderError(f"{path} does not hold rows: {cause} is missing") from cause


def _by_client(arrays: Mapping[int, Arrays]) -> Arrays:
    return {f"{client}/{name}": array for client, each in arrays.items() for name, array in each.items()}


def _clients_in(path: Path) -> dict[int, dict[str, npt.NDArray[Any]]]:
    """The arrays of each client, in the order of clients; none where there is no file."""
    clients: dict[int, dict[str, npt.NDArray[Any]]] = {}
    for key, array in (tensors.unpack(path) if path.is_file() else {}).items():
        client, _, name = key.partition("/")
        if not (client.isdecimal() and name):
            raise RunFolderError(f"{path} holds an array {key!r}; a client's number, a slash and a name are expected")
        clients.setdefault(int(client), {})[name] = array
    return dict(sorted(clients.items()))
