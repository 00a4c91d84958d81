"""The arrays and metrics of a message as one object, where a SuperLink carries it.

Flower carries every array as two objects and asks for each of them in a request of its own: 24 for the weights of an
MLP with six tensors and what goes with them, 250 for a ResNet-18. A parcel holds them all, in pieces of the size that
Flower cuts arrays into. Configuration records stay as they are: they differ from client to client, while a parcel for
all clients is the same and is kept by the SuperLink once.
"""

from __future__ import annotations

from flwr.app import ConfigRecord, Message, RecordDict

from fedkd.errors import PayloadError
from fedkd.federation.engines.internals import pack_records, unpack_records, with_content
from fedkd.federation.messages import field_of

_PREFIX, _FIELD = "parcel-", "records"
_PIECE = 5 * 1024**2


def parcelled(message: Message) -> Message:
    """The same message with its arrays and metrics packed; one that has none is returned as it is."""
    if not message.has_content():
        return message
    content = message.content
    rest = RecordDict(dict(content.config_records))
    if len(rest) == len(content):
        return message
    packed = pack_records(RecordDict({name: record for name, record in content.items() if name not in rest}))
    for number, start in enumerate(range(0, len(packed), _PIECE)):
        rest[f"{_PREFIX}{number}"] = ConfigRecord({_FIELD: packed[start : start + _PIECE]})
    return with_content(message, rest)


def is_parcel(message: Message) -> bool:
    """Whether a message's arrays and metrics are packed."""
    return message.has_content() and f"{_PREFIX}0" in message.content


def opened(message: Message) -> Message:
    """The message that was packed; one that was not is returned as it is.

    Raises:
        PayloadError: a piece is missing or cannot be read, or a record is there twice.
    """
    if not is_parcel(message):
        return message
    content = message.content
    pieces = [f"{_PREFIX}{number}" for number in range(sum(name.startswith(_PREFIX) for name in content))]
    packed = b"".join(field_of(content, piece, _FIELD, bytes) for piece in pieces)
    try:
        records = unpack_records(packed)
    except Exception as cause:  # the parser of Flower's records raises many types on hostile bytes
        raise PayloadError("malformed", f"the parcel cannot be read ({cause})") from cause
    rest = {name: record for name, record in content.items() if name not in pieces}
    if twice := sorted(rest.keys() & records.keys()):
        raise PayloadError("malformed", f"record {twice[0]!r} is in the parcel and beside it")
    return with_content(message, RecordDict({**rest, **records}))
