"""The arrays and metrics of a message in one object, or a few, where Flower carries it.

Flower carries every array as two objects and asks for each of them in a request of its own: 24 for an MLP's weights and
a consensus, some 220 for a ResNet-18's. A parcel holds them all, in pieces of the size that Flower cuts arrays into.
Configuration records stay as they are: they differ from client to client, while clients that get the same arrays get
the same parcel, which is made and kept once.
"""

from __future__ import annotations

from flwr.app import ConfigRecord, Message, RecordDict

from fedkd.errors import PayloadError
from fedkd.flower.internals import pack_records, unpack_records, with_content

_PREFIX, _FIELD = "parcel-", "records"
_PIECE = 5 * 1024**2
_MOST_PIECES = 200
"""A parcel of a GiB; what is larger is not packed, and who claims to have sent more is refused before it is read."""

Parcels = dict[tuple[tuple[str, int], ...], dict[str, ConfigRecord]]
"""Pieces by the names and identities of the records in them."""


def parcelled(message: Message, made: Parcels | None = None) -> Message:
    """The same message with its arrays and metrics packed; one that has none is returned as it is.

    Args:
        message: to be sent.
        made: parcels of other messages, all of which are still held; this one's is added. Where it has the same records
            as one of them, it gets the same pieces.
    """
    if not message.has_content():
        return message
    content = message.content
    names = [name for name, record in content.items() if not isinstance(record, ConfigRecord)]
    if not names:
        return message
    made = {} if made is None else made
    which = tuple((name, id(content[name])) for name in names)
    if which not in made:
        made[which] = _cut(pack_records(RecordDict({name: content[name] for name in names})))
    if len(made[which]) > _MOST_PIECES:
        return message
    rest = {name: record for name, record in content.items() if name not in names}
    return with_content(message, RecordDict({**rest, **made[which]}))


def is_parcel(message: Message) -> bool:
    """Whether a message's arrays and metrics are packed."""
    return message.has_content() and f"{_PREFIX}0" in message.content


def opened(message: Message) -> Message:
    """The message that was packed; one that was not is returned as it is.

    Raises:
        PayloadError: a piece is missing, too large or cannot be read; there are too many; or what is in it does not
            belong there.
    """
    if not is_parcel(message):
        return message
    content = message.content
    rest = {name: record for name, record in content.items() if not name.startswith(_PREFIX)}
    records = _unpacked(_joined(content, len(content) - len(rest)))
    strange = [name for name, record in records.items() if name in rest or isinstance(record, ConfigRecord)]
    if strange:
        raise PayloadError("malformed", f"record {strange[0]!r} is in the parcel and beside it, or no array or metric")
    return with_content(message, RecordDict({**rest, **records}))


def _cut(packed: bytes) -> dict[str, ConfigRecord]:
    starts = range(0, len(packed), _PIECE)
    return {
        f"{_PREFIX}{number}": ConfigRecord({_FIELD: packed[start : start + _PIECE]})
        for number, start in enumerate(starts)
    }


def _joined(content: RecordDict, num_pieces: int) -> bytes:
    if num_pieces > _MOST_PIECES:
        raise PayloadError("malformed", f"the parcel has {num_pieces} pieces; at most {_MOST_PIECES}")
    fields, pieces = content.config_records, []
    for number in range(num_pieces):
        piece = fields.get(f"{_PREFIX}{number}", ConfigRecord()).get(_FIELD)
        if not isinstance(piece, bytes) or len(piece) > _PIECE:
            raise PayloadError(
                "malformed", f"piece {number} of the parcel is missing, no bytes, or over {_PIECE} bytes"
            )
        pieces.append(piece)
    return b"".join(pieces)


def _unpacked(packed: bytes) -> RecordDict:
    try:
        return unpack_records(packed)
    except Exception as cause:  # the parser of Flower's records raises many types on hostile bytes
        raise PayloadError("malformed", f"the parcel cannot be read ({cause})") from cause
