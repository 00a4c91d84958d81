"""What all parties of one secure sum agree on."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Literal

from fedkd.secure_aggregation.errors import CapacityError, MalformedMessageError, ParameterError
from fedkd.secure_aggregation.wire import Reader, Session, pack_blob

Trust = Literal["curious", "active"]
"""The server one defends against: `curious` follows the protocol and looks, `active` sends what it likes."""

DIGEST_BYTES = 32
MAX_VECTOR_LENGTH = 1 << 30
_TRUSTS: tuple[Trust, ...] = ("curious", "active")
_FIELDS = struct.Struct("<IIIBBBBdIII")


@dataclass(frozen=True)
class VectorLayout:
    """What one client's vector holds.

    Attributes:
        num_weights: G weights of a client: 1 for a mean by examples, one a sample for a confidence-weighted mean.
        values_per_weight: C values that each weight multiplies: all of them, or the classes of one sample.
        num_counters: non-negative integers that are only summed: class counts, correct answers, examples.
    """

    num_weights: int
    values_per_weight: int
    num_counters: int = 0

    def __post_init__(self) -> None:
        _require_range("num_weights", self.num_weights, 1, MAX_VECTOR_LENGTH)
        _require_range("values_per_weight", self.values_per_weight, 1, MAX_VECTOR_LENGTH)
        _require_range("num_counters", self.num_counters, 0, MAX_VECTOR_LENGTH)
        _require_range("vector_length", self.vector_length, 1, MAX_VECTOR_LENGTH)

    @property
    def num_values(self) -> int:
        """G · C."""
        return self.num_weights * self.values_per_weight

    @property
    def vector_length(self) -> int:
        """Weighted values, weights, the number of clipped values, and counters."""
        return self.num_values + self.num_weights + 1 + self.num_counters


@dataclass(frozen=True)
class SessionParameters:
    """Parameters of one secure sum. The server proposes them; a client compares them with its policy.

    Attributes:
        session: run, round and group.
        num_clients: how many are invited; so many may contribute, which is what the ring must hold.
        trust: the server that is defended against.
        ring_bits: m; sums are taken modulo 2^m, 8 ≤ m ≤ 64.
        value_bits: j; a value is one of 2^j levels between ±clipping_range.
        weight_bits: k; a weight is an integer below 2^k.
        clipping_range: larger values are clipped.
        layout: what a vector holds.
        public_set_digest: SHA-256 of the public samples that clients answer, 32 bytes.
        student_digest: SHA-256 of the model that clients are sent, 32 bytes.

    Raises:
        ParameterError: a value that is not allowed; names it.
        CapacityError: num_clients · (2^j − 1) · (2^k − 1) ≥ 2^m.
    """

    session: Session
    num_clients: int
    trust: Trust
    ring_bits: int
    value_bits: int
    weight_bits: int
    clipping_range: float
    layout: VectorLayout
    public_set_digest: bytes
    student_digest: bytes

    def __post_init__(self) -> None:
        _require_range("server_round", self.session.server_round, 1, 2**32 - 1)
        _require_range("group", self.session.group, 0, 2**32 - 1)
        _require_range("num_clients", self.num_clients, 2, 2**20)
        _require_range("ring_bits", self.ring_bits, 8, 64)
        _require_range("value_bits", self.value_bits, 1, 32)
        _require_range("weight_bits", self.weight_bits, 1, 32)
        if self.trust not in _TRUSTS:
            raise ParameterError(f"trust = {self.trust!r} is not allowed: one of {', '.join(_TRUSTS)}")
        if not (math.isfinite(self.clipping_range) and self.clipping_range > 0):
            raise ParameterError(f"clipping_range = {self.clipping_range} is not allowed: a positive finite number")
        for name in ("public_set_digest", "student_digest"):
            if len(getattr(self, name)) != DIGEST_BYTES:
                raise ParameterError(
                    f"{name} has {len(getattr(self, name))} bytes; a SHA-256 digest has {DIGEST_BYTES}"
                )
        self._require_capacity()

    def _require_capacity(self) -> None:
        needed = smallest_ring_bits(self.num_clients, self.value_bits, self.weight_bits)
        if needed > self.ring_bits:
            raise CapacityError(
                f"num_clients · (2^value_bits − 1) · (2^weight_bits − 1) = {self.num_clients} · "
                f"(2^{self.value_bits} − 1) · (2^{self.weight_bits} − 1) needs ring_bits ≥ {needed}; "
                f"ring_bits = {self.ring_bits}"
            )
        if self.layout.num_values > self.largest_entry:
            raise CapacityError(
                f"a client may clip up to {self.layout.num_values} values, which ring_bits = {self.ring_bits} cannot "
                f"count over {self.num_clients} clients (at most {self.largest_entry} each)"
            )

    @property
    def largest_entry(self) -> int:
        """What one client may put into one entry of its vector, so that no sum wraps around."""
        return ((1 << self.ring_bits) - 1) // self.num_clients

    @property
    def step(self) -> float:
        """The distance of two levels: a mean decoded from the sum is closer than this to the clipped inputs' mean."""
        return 2 * self.clipping_range / ((1 << self.value_bits) - 1)

    def to_bytes(self) -> bytes:
        """The one encoding of these parameters, which the transcript hashes."""
        session, layout = self.session, self.layout
        return (
            pack_blob(session.run.encode())
            + _FIELDS.pack(
                session.server_round,
                session.group,
                self.num_clients,
                _TRUSTS.index(self.trust),
                self.ring_bits,
                self.value_bits,
                self.weight_bits,
                self.clipping_range,
                layout.num_weights,
                layout.values_per_weight,
                layout.num_counters,
            )
            + self.public_set_digest
            + self.student_digest
        )

    @classmethod
    def read(cls, reader: Reader) -> SessionParameters:
        """Read parameters off a message.

        Raises:
            MalformedMessageError, ParameterError: they are not well-formed, or not allowed.
        """
        try:
            run = reader.blob().decode()
        except UnicodeDecodeError:
            raise MalformedMessageError("the run's name is not UTF-8") from None
        server_round, group, clients, trust, ring, value, weight, clip, *layout = reader.unpack(_FIELDS)
        if trust >= len(_TRUSTS):
            raise MalformedMessageError(f"trust = {trust}; below {len(_TRUSTS)}")
        return cls(
            Session(run, server_round, group),
            num_clients=clients,
            trust=_TRUSTS[trust],
            ring_bits=ring,
            value_bits=value,
            weight_bits=weight,
            clipping_range=clip,
            layout=VectorLayout(*layout),
            public_set_digest=reader.take(DIGEST_BYTES),
            student_digest=reader.take(DIGEST_BYTES),
        )


def smallest_ring_bits(num_clients: int, value_bits: int, weight_bits: int) -> int:
    """The smallest m with num_clients · (2^value_bits − 1) · (2^weight_bits − 1) < 2^m, at least 8."""
    largest = num_clients * ((1 << value_bits) - 1) * ((1 << weight_bits) - 1)
    return max(8, largest.bit_length())


def _require_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ParameterError(f"{name} = {value} is not allowed: {low} to {high}")
