"""The grammar of messages: fixed-width little-endian fields, a header of kind and session, nothing left over."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple

from fedkd.secure_aggregation.errors import MalformedMessageError, WrongSessionError

MAGIC = b"FKSA"
VERSION = 1
_TAG_BYTES = 16
_HEADER = struct.Struct(f"<4sBB{_TAG_BYTES}sI")
MAX_CLIENTS = 1 << 20
"""More ids than this in one list are refused before anything is allocated."""


class Kind(IntEnum):
    """Kinds of messages, in the order in which a round sends them."""

    ADVERTISE_REQUEST = 1
    ADVERTISEMENT = 2
    SHARE_REQUEST = 3
    SHARES = 4
    MASK_REQUEST = 5
    MASKED_INPUT = 6
    CONFIRM_REQUEST = 7
    CONFIRMATION = 8
    UNMASK_REQUEST = 9
    UNMASKING_SHARES = 10


class Session(NamedTuple):
    """Which sum a message belongs to.

    Attributes:
        run: unique to one start of a federation; a resumed one takes another.
        server_round: from 1.
        group: where a round sums groups apart; else 0.
    """

    run: str
    server_round: int
    group: int = 0

    @property
    def tag(self) -> bytes:
        """What stands for run and group in a header."""
        return _tag(self.run, self.group)


@lru_cache(maxsize=256)
def _tag(run: str, group: int) -> bytes:
    return hashlib.sha256(b"fedkd/session" + group.to_bytes(4, "little") + run.encode()).digest()[:_TAG_BYTES]


def header(kind: Kind, session: Session) -> bytes:
    """The first bytes of a message."""
    return _HEADER.pack(MAGIC, VERSION, kind, session.tag, session.server_round)


class Reader:
    """Reads fields off a message's front; every way in which they can be wrong is a `MalformedMessageError`."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = memoryview(data), 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        piece = bytes(self._data[self._at : self._at + count])
        if len(piece) != count:
            raise MalformedMessageError(f"message ends after {len(self._data)} bytes; {self._at + count} are needed")
        self._at += count
        return piece

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        """The next fields of a struct."""
        return layout.unpack(self.take(layout.size))

    def number(self) -> int:
        """A 32-bit unsigned integer."""
        return int.from_bytes(self.take(4), "little")

    def count(self) -> int:
        """The length of a list that follows."""
        count = self.number()
        if count > MAX_CLIENTS:
            raise MalformedMessageError(f"message announces {count} entries; at most {MAX_CLIENTS}")
        return count

    def ids(self) -> tuple[int, ...]:
        """A list of client ids, as written by `pack_ids`."""
        count = self.count()
        return struct.unpack(f"<{count}I", self.take(4 * count))

    def blob(self) -> bytes:
        """Bytes preceded by their number."""
        return self.take(self.number())

    def pieces(self, size: int) -> tuple[bytes, ...]:
        """A list of byte strings of one size, as written by `pack_pieces`."""
        count = self.count()
        data = self.take(count * size)
        return tuple(data[at : at + size] for at in range(0, len(data), size))

    def header(self, kind: Kind, session: Session | None) -> None:
        """Check a message's header.

        Raises:
            MalformedMessageError: it is no message of this kind and version.
            WrongSessionError: it belongs to another run, group or round; not checked where `session` is `None`.
        """
        magic, version, found, tag, server_round = _HEADER.unpack(self.take(_HEADER.size))
        if magic != MAGIC or version != VERSION:
            raise MalformedMessageError(f"message starts with {magic!r}, version {version}; {MAGIC!r}, {VERSION}")
        if found != kind:
            raise MalformedMessageError(f"message is of kind {found}; {kind.name.lower()} ({kind.value}) was expected")
        if session is not None and (tag, server_round) != (session.tag, session.server_round):
            raise WrongSessionError(
                f"message is of round {server_round}, run and group {tag.hex()}; "
                f"round {session.server_round}, {session.tag.hex()} ({session.run!r}, {session.group}) were expected"
            )

    def finish(self) -> None:
        """Refuse trailing bytes."""
        if self._at != len(self._data):
            raise MalformedMessageError(f"message has {len(self._data)} bytes; {self._at} were expected")


def pack_ids(ids: Sequence[int]) -> bytes:
    """A list of client ids, preceded by its length."""
    return struct.pack(f"<I{len(ids)}I", len(ids), *ids)


def pack_pieces(pieces: Sequence[bytes]) -> bytes:
    """Byte strings of one size, preceded by their number."""
    return len(pieces).to_bytes(4, "little") + b"".join(pieces)


def pack_blob(data: bytes) -> bytes:
    """Bytes preceded by their number."""
    return len(data).to_bytes(4, "little") + data
