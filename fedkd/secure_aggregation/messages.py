"""The ten messages of a round, and their bytes.

| message | from | what it carries |
| --- | --- | --- |
| `AdvertiseRequest` | server | the parameters |
| `Advertisement` | client | two public keys, signed where the server may be active |
| `ShareRequest` | server | the parameters, the topology, and all advertisements |
| `Shares` | client | a commitment, and a sealed pair of shares for each neighbour |
| `MaskRequest` | server | who has shared, and the shares sealed for this client |
| `MaskedInput` | client | the masked vector, packed |
| `ConfirmRequest` | server | who is alive and who is dead |
| `Confirmation` | client | a signature over those alive |
| `UnmaskRequest` | server | who is alive and who is dead, and the signatures |
| `UnmaskingShares` | client | one share for each neighbour that has shared |

`read` checks bytes; what the content means is checked by `client` and `server`. Whatever it is given, `read` raises
`MalformedMessageError`, `WrongSessionError`, `VectorMismatchError` or `ParameterError`, and nothing else.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Self

from fedkd.secure_aggregation import shamir
from fedkd.secure_aggregation.errors import MalformedMessageError, VectorMismatchError
from fedkd.secure_aggregation.graph import Topology
from fedkd.secure_aggregation.keys import KEY_BYTES, NONCE_BYTES, SIGNATURE_BYTES, TAG_BYTES
from fedkd.secure_aggregation.masking import RingArray
from fedkd.secure_aggregation.packing import pack, packed_bytes, unpack
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.wire import Kind, Reader, Session, header, pack_ids, pack_pieces

SEALED_BYTES = NONCE_BYTES + 2 * shamir.SHARE_BYTES + TAG_BYTES
COMMITMENT_BYTES = 32


class Message(ABC):
    """A header and a body."""

    kind: ClassVar[Kind]

    @abstractmethod
    def _body(self) -> bytes:
        """Encode all but the header."""

    @classmethod
    @abstractmethod
    def _parse(cls, reader: Reader) -> Self:
        """Decode all but the header."""

    def to_bytes(self, session: Session) -> bytes:
        """Encode."""
        return header(self.kind, session) + self._body()

    @classmethod
    def read(cls, data: bytes, session: Session | None) -> Self:
        """Decode; `session` is the one that the header must name, or `None` where any is taken."""
        reader = Reader(data)
        reader.header(cls.kind, session)
        message = cls._parse(reader)
        reader.finish()
        return message


@dataclass(frozen=True)
class AdvertiseRequest(Message):
    """The server invites."""

    parameters: SessionParameters
    kind = Kind.ADVERTISE_REQUEST

    def _body(self) -> bytes:
        return self.parameters.to_bytes()

    @classmethod
    def _parse(cls, reader: Reader) -> AdvertiseRequest:
        return cls(SessionParameters.read(reader))


class PublicKeys(NamedTuple):
    """A client's public keys for one round. `signature` is empty where identities are not used."""

    client: int
    mask_key: bytes
    share_key: bytes
    signature: bytes = b""


@dataclass(frozen=True)
class Advertisement(Message):
    """A client advertises its keys."""

    keys: PublicKeys
    kind = Kind.ADVERTISEMENT

    def _body(self) -> bytes:
        return _pack_keys((self.keys,))

    @classmethod
    def _parse(cls, reader: Reader) -> Advertisement:
        return cls(*_read_keys(reader, 1))


@dataclass(frozen=True)
class ShareRequest(Message):
    """The server tells who takes part, with which keys, and how secrets are shared."""

    parameters: SessionParameters
    topology: Topology
    members: tuple[PublicKeys, ...]
    kind = Kind.SHARE_REQUEST

    def _body(self) -> bytes:
        counts = (self.topology.num_neighbours, self.topology.threshold, len(self.members))
        fields = [count.to_bytes(4, "little") for count in counts]
        return b"".join((self.parameters.to_bytes(), *fields, _pack_keys(self.members)))

    @classmethod
    def _parse(cls, reader: Reader) -> ShareRequest:
        parameters, topology = SessionParameters.read(reader), Topology(reader.number(), reader.number())
        return cls(parameters, topology, _read_keys(reader, reader.count()))


@dataclass(frozen=True)
class Shares(Message):
    """A commitment to the client's own mask seed, and sealed shares for its neighbours in ascending order."""

    commitment: bytes
    sealed: tuple[bytes, ...]
    kind = Kind.SHARES

    def _body(self) -> bytes:
        return self.commitment + pack_pieces(self.sealed)

    @classmethod
    def _parse(cls, reader: Reader) -> Shares:
        return cls(reader.take(COMMITMENT_BYTES), reader.pieces(SEALED_BYTES))


@dataclass(frozen=True)
class MaskRequest(Message):
    """Who has shared, and what senders have sealed for the receiver."""

    sharers: tuple[int, ...]
    senders: tuple[int, ...]
    sealed: tuple[bytes, ...]
    kind = Kind.MASK_REQUEST

    def _body(self) -> bytes:
        return pack_ids(self.sharers) + pack_ids(self.senders) + pack_pieces(self.sealed)

    @classmethod
    def _parse(cls, reader: Reader) -> MaskRequest:
        request = cls(reader.ids(), reader.ids(), reader.pieces(SEALED_BYTES))
        if len(request.senders) != len(request.sealed):
            raise MalformedMessageError(f"{len(request.sealed)} sealed shares of {len(request.senders)} senders")
        return request


@dataclass(frozen=True)
class MaskedInput:
    """A masked vector; how its bytes are read depends on the parameters."""

    vector_D: RingArray

    def to_bytes(self, parameters: SessionParameters) -> bytes:
        """Encode, with ring_bits bits an entry."""
        shape = parameters.ring_bits.to_bytes(4, "little") + len(self.vector_D).to_bytes(4, "little")
        return header(Kind.MASKED_INPUT, parameters.session) + shape + pack(self.vector_D, parameters.ring_bits)

    @classmethod
    def read(cls, data: bytes, parameters: SessionParameters) -> MaskedInput:
        """Decode.

        Raises:
            VectorMismatchError: another ring or length than the session's.
        """
        reader = Reader(data)
        reader.header(Kind.MASKED_INPUT, parameters.session)
        found = ring_bits, length = reader.number(), reader.number()
        if found != (expected := (parameters.ring_bits, parameters.layout.vector_length)):
            raise VectorMismatchError(f"masked vector has (ring_bits, length) = {found}; {expected} is the session's")
        packed = reader.take(packed_bytes(length, ring_bits))
        reader.finish()
        if (spare := -length * ring_bits % 8) and packed[-1] >> (8 - spare):
            raise MalformedMessageError("the bits after the last entry are not zero")
        return cls(unpack(packed, length, ring_bits))


@dataclass(frozen=True)
class ConfirmRequest(Message):
    """The survivors as the server tells them."""

    alive: tuple[int, ...]
    dead: tuple[int, ...]
    kind = Kind.CONFIRM_REQUEST

    def _body(self) -> bytes:
        return pack_ids(self.alive) + pack_ids(self.dead)

    @classmethod
    def _parse(cls, reader: Reader) -> ConfirmRequest:
        return cls(reader.ids(), reader.ids())


@dataclass(frozen=True)
class Confirmation(Message):
    """A client's signature over the survivors."""

    signature: bytes
    kind = Kind.CONFIRMATION

    def _body(self) -> bytes:
        return self.signature

    @classmethod
    def _parse(cls, reader: Reader) -> Confirmation:
        return cls(reader.take(SIGNATURE_BYTES))


@dataclass(frozen=True)
class UnmaskRequest(Message):
    """The survivors, and who has signed for them (nobody where identities are not used)."""

    alive: tuple[int, ...]
    dead: tuple[int, ...]
    signers: tuple[int, ...] = ()
    signatures: tuple[bytes, ...] = ()
    kind = Kind.UNMASK_REQUEST

    def _body(self) -> bytes:
        return b"".join((*map(pack_ids, (self.alive, self.dead, self.signers)), pack_pieces(self.signatures)))

    @classmethod
    def _parse(cls, reader: Reader) -> UnmaskRequest:
        request = cls(reader.ids(), reader.ids(), reader.ids(), reader.pieces(SIGNATURE_BYTES))
        if len(request.signers) != len(request.signatures):
            raise MalformedMessageError(f"{len(request.signatures)} signatures of {len(request.signers)} signers")
        return request


@dataclass(frozen=True)
class UnmaskingShares(Message):
    """For each neighbour that has shared, and the client itself, in ascending order: one share.

    Of the mask seed where that client is alive, of the mask key where it is dead.
    """

    shares: tuple[int, ...]
    kind = Kind.UNMASKING_SHARES

    def _body(self) -> bytes:
        return pack_pieces([share.to_bytes(shamir.SHARE_BYTES, "big") for share in self.shares])

    @classmethod
    def _parse(cls, reader: Reader) -> UnmaskingShares:
        shares = tuple(int.from_bytes(piece, "big") for piece in reader.pieces(shamir.SHARE_BYTES))
        if any(share >= shamir.PRIME for share in shares):
            raise MalformedMessageError("a share is no element of the field")
        return cls(shares)


def _pack_keys(members: tuple[PublicKeys, ...]) -> bytes:
    """Whether all are signed, then fixed-width entries."""
    signed = bool(members and members[0].signature)
    layout = _key_layout(signed)
    entries = [layout.pack(*member) if signed else layout.pack(*member[:3]) for member in members]
    return signed.to_bytes(1, "little") + b"".join(entries)


def _read_keys(reader: Reader, count: int) -> tuple[PublicKeys, ...]:
    signed = reader.take(1)
    if signed not in (b"\0", b"\1"):
        raise MalformedMessageError(f"the mark of signed keys is {signed!r}; 0 or 1")
    layout = _key_layout(signed == b"\1")
    return tuple(PublicKeys(*entry) for entry in layout.iter_unpack(reader.take(count * layout.size)))


def _key_layout(signed: bool) -> struct.Struct:
    return struct.Struct(f"<I{KEY_BYTES}s{KEY_BYTES}s" + f"{SIGNATURE_BYTES}s" * signed)
