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

from dataclasses import dataclass
from typing import ClassVar, Self

from fedkd.secure_aggregation import shamir
from fedkd.secure_aggregation.errors import MalformedMessageError, VectorMismatchError
from fedkd.secure_aggregation.graph import Topology
from fedkd.secure_aggregation.keys import KEY_BYTES, NONCE_BYTES, SIGNATURE_BYTES, TAG_BYTES
from fedkd.secure_aggregation.masking import RingArray
from fedkd.secure_aggregation.packing import pack, packed_bytes, unpack
from fedkd.secure_aggregation.parameters import SessionParameters
from fedkd.secure_aggregation.wire import Kind, Reader, Session, header, pack_blob, pack_ids, pack_pieces

SEALED_BYTES = NONCE_BYTES + 2 * shamir.SHARE_BYTES + TAG_BYTES
COMMITMENT_BYTES = 32


class Message:
    """A header and a body; `body` writes the latter and `parse` reads it."""

    kind: ClassVar[Kind]

    def body(self) -> bytes:
        """Encode all but the header."""
        raise NotImplementedError

    @classmethod
    def parse(cls, reader: Reader) -> Self:
        """Decode all but the header."""
        raise NotImplementedError

    def to_bytes(self, session: Session) -> bytes:
        """Encode."""
        return header(self.kind, session) + self.body()

    @classmethod
    def read(cls, data: bytes, session: Session | None) -> Self:
        """Decode; `session` is the one that the header must name, or `None` where any is taken."""
        reader = Reader(data)
        reader.header(cls.kind, session)
        message = cls.parse(reader)
        reader.finish()
        return message


@dataclass(frozen=True)
class AdvertiseRequest(Message):
    """The server invites."""

    parameters: SessionParameters
    kind = Kind.ADVERTISE_REQUEST

    def body(self) -> bytes:
        return self.parameters.to_bytes()

    @classmethod
    def parse(cls, reader: Reader) -> AdvertiseRequest:
        return cls(SessionParameters.read(reader))


@dataclass(frozen=True)
class Advertisement(Message):
    """A client's public keys for one round. `signature` is empty where identities are not used."""

    client: int
    mask_key: bytes
    share_key: bytes
    signature: bytes = b""
    kind = Kind.ADVERTISEMENT

    def body(self) -> bytes:
        return self.client.to_bytes(4, "little") + self.mask_key + self.share_key + pack_blob(self.signature)

    @classmethod
    def parse(cls, reader: Reader) -> Advertisement:
        advertisement = cls(reader.number(), reader.take(KEY_BYTES), reader.take(KEY_BYTES), reader.blob())
        if len(advertisement.signature) not in (0, SIGNATURE_BYTES):
            raise MalformedMessageError(f"signature of {len(advertisement.signature)} bytes; 0 or {SIGNATURE_BYTES}")
        return advertisement


@dataclass(frozen=True)
class ShareRequest(Message):
    """The server tells who takes part, with which keys, and how secrets are shared."""

    parameters: SessionParameters
    topology: Topology
    members: tuple[Advertisement, ...]
    kind = Kind.SHARE_REQUEST

    def body(self) -> bytes:
        counts = (self.topology.num_neighbours, self.topology.threshold, len(self.members))
        members = [member.body() for member in self.members]
        return b"".join((self.parameters.to_bytes(), *(count.to_bytes(4, "little") for count in counts), *members))

    @classmethod
    def parse(cls, reader: Reader) -> ShareRequest:
        parameters, topology = SessionParameters.read(reader), Topology(reader.number(), reader.number())
        return cls(parameters, topology, tuple(Advertisement.parse(reader) for _ in range(reader.count())))


@dataclass(frozen=True)
class Shares(Message):
    """A commitment to the client's own mask seed, and sealed shares for its neighbours in ascending order."""

    commitment: bytes
    sealed: tuple[bytes, ...]
    kind = Kind.SHARES

    def body(self) -> bytes:
        return self.commitment + pack_pieces(self.sealed)

    @classmethod
    def parse(cls, reader: Reader) -> Shares:
        return cls(reader.take(COMMITMENT_BYTES), reader.pieces(SEALED_BYTES))


@dataclass(frozen=True)
class MaskRequest(Message):
    """Who has shared, and what senders have sealed for the receiver."""

    sharers: tuple[int, ...]
    senders: tuple[int, ...]
    sealed: tuple[bytes, ...]
    kind = Kind.MASK_REQUEST

    def body(self) -> bytes:
        return pack_ids(self.sharers) + pack_ids(self.senders) + pack_pieces(self.sealed)

    @classmethod
    def parse(cls, reader: Reader) -> MaskRequest:
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

    def body(self) -> bytes:
        return pack_ids(self.alive) + pack_ids(self.dead)

    @classmethod
    def parse(cls, reader: Reader) -> ConfirmRequest:
        return cls(reader.ids(), reader.ids())


@dataclass(frozen=True)
class Confirmation(Message):
    """A client's signature over the survivors."""

    signature: bytes
    kind = Kind.CONFIRMATION

    def body(self) -> bytes:
        return self.signature

    @classmethod
    def parse(cls, reader: Reader) -> Confirmation:
        return cls(reader.take(SIGNATURE_BYTES))


@dataclass(frozen=True)
class UnmaskRequest(Message):
    """The survivors, and who has signed for them (nobody where identities are not used)."""

    alive: tuple[int, ...]
    dead: tuple[int, ...]
    signers: tuple[int, ...] = ()
    signatures: tuple[bytes, ...] = ()
    kind = Kind.UNMASK_REQUEST

    def body(self) -> bytes:
        return b"".join((*map(pack_ids, (self.alive, self.dead, self.signers)), pack_pieces(self.signatures)))

    @classmethod
    def parse(cls, reader: Reader) -> UnmaskRequest:
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

    def body(self) -> bytes:
        return pack_pieces([share.to_bytes(shamir.SHARE_BYTES, "big") for share in self.shares])

    @classmethod
    def parse(cls, reader: Reader) -> UnmaskingShares:
        shares = tuple(int.from_bytes(piece, "big") for piece in reader.pieces(shamir.SHARE_BYTES))
        if any(share >= shamir.PRIME for share in shares):
            raise MalformedMessageError("a share is no element of the field")
        return cls(shares)
