"""Packed messages: all arrays and metrics of a message are sent as one object, or as a few pieces.

Flower sends every array as two objects and requests each object separately: 24 requests for the weights of an MLP and a
consensus, about 220 for those of a ResNet-18. A packed message has one object for all of them, cut into pieces of the
size into which Flower cuts arrays. Configuration records are not packed, because they differ between clients. Clients
that get the same arrays get the same pieces, which are made once.

Can go when Flower fetches all objects of a message in one request.
"""

from __future__ import annotations

from flwr.app import ConfigRecord, Message, RecordDict

from fedkd.errors import PayloadError
from fedkd.flower.internals import pack_records, unpack_records, with_content

_PREFIX, _FIELD = "packed-", "records"
_PIECE = 5 * 1024**2
_MOST_PIECES = 200
"""1 GiB. A larger message is not packed; a reply that claims more pieces is refused before they are read."""

PackedRecords = dict[tuple[tuple[str, int], ...], dict[str, ConfigRecord]]
"""Pieces that were made, by the names and the identities (`id`) of the records in them."""


def pack_message(message: Message, made: PackedRecords | None = None) -> Message:
    """Return the message with its arrays and metrics packed. A message without any is returned unchanged.

    Args:
        message: the message to send.
        made: pieces of earlier messages whose records are still referenced, so that their `id` is theirs alone. A
            message with the same records gets the same pieces; otherwise its pieces are added.
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


def is_packed(message: Message) -> bool:
    """Whether a message's arrays and metrics are packed."""
    return message.has_content() and f"{_PREFIX}0" in message.content


def unpack_message(message: Message) -> Message:
    """Return the message as it was before `pack_message`. A message that is not packed is returned unchanged.

    Raises:
        PayloadError: a piece is missing, is too large or cannot be read; there are too many pieces; or a packed record
            is neither arrays nor metrics, or has the name of a record that is not packed.
    """
    if not is_packed(message):
        return message
    content = message.content
    rest = {name: record for name, record in content.items() if not name.startswith(_PREFIX)}
    records = _unpacked(_joined(content, len(content) - len(rest)))
    strange = [name for name, record in records.items() if name in rest or isinstance(record, ConfigRecord)]
    if strange:
        raise PayloadError("malformed", f"packed record {strange[0]!r} is also sent unpacked, or is no array or metric")
    return with_content(message, RecordDict({**rest, **records}))


def _cut(packed: bytes) -> dict[str, ConfigRecord]:
    starts = range(0, len(packed), _PIECE)
    return {
        f"{_PREFIX}{number}": ConfigRecord({_FIELD: packed[start : start + _PIECE]})
        for number, start in enumerate(starts)
    }


def _joined(content: RecordDict, num_pieces: int) -> bytes:
    if num_pieces > _MOST_PIECES:
        raise PayloadError("malformed", f"the packed message has {num_pieces} pieces; at most {_MOST_PIECES}")
    fields, pieces = content.config_records, []
    for number in range(num_pieces):
        piece = fields.get(f"{_PREFIX}{number}", ConfigRecord()).get(_FIELD)
        if not isinstance(piece, bytes) or len(piece) > _PIECE:
            raise PayloadError(
                "malformed", f"piece {number} of the packed message is missing, no bytes, or over {_PIECE} bytes"
            )
        pieces.append(piece)
    return b"".join(pieces)


def _unpacked(packed: bytes) -> RecordDict:
    try:
        return unpack_records(packed)
    except Exception as cause:  # the parser of Flower's records raises many types on hostile bytes
        raise PayloadError("malformed", f"the packed message cannot be read ({cause})") from cause
