"""The seam: the one path of rows out of a client and into the server, in clear and under masks.

    client   rows ── bound ── steps ── check ──┬── codec ──▶ arrays of a message
                                               └── ring vector ──▶ masked sum   (`fedkd.federation.secure.vector`)
    server   arrays ── codec ── check, bound ──▶ rows

Guarantees:
    - Nothing that is not finite leaves, and nothing that is not finite or not of the spec's shape, keys and weights
      enters.
    - No value beyond the spec's bound, as the steps leave it, leaves or enters: the server bounds, too.
    - A client's step draws from a generator of that client and round alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedkd.errors import PayloadError
from fedkd.payload.codecs import Codec, array_of
from fedkd.payload.rows import Arrays, Rows, RowsSpec
from fedkd.payload.steps import Step
from fedkd.records import PrivacyEvent
from fedkd.types import FloatArray, IntArray

_PRESENT, _WEIGHTS = "row_present", "row_weights"


@dataclass(frozen=True)
class Outgoing:
    """Rows that may leave a client.

    Attributes:
        rows: checked against the spec.
        spec: as the steps leave it.
        clipped_fraction: share of the values that lay beyond the upload's bound.
    """

    rows: Rows
    spec: RowsSpec
    clipped_fraction: float


@dataclass(frozen=True)
class Seam:
    """Both ends.

    Attributes:
        steps: in the order in which they are done; an attacker's come first.
        codec: of what goes up.
        codec_down: of what goes down.
    """

    steps: tuple[Step, ...]
    codec: Codec
    codec_down: Codec

    def spec_after(self, spec: RowsSpec) -> RowsSpec:
        """The spec of what leaves a client, from that of its upload."""
        for step in self.steps:
            spec = step.after(spec)
        return spec

    def events(self, spec: RowsSpec, num_rows: int) -> tuple[PrivacyEvent, ...]:
        """What the steps do for the privacy of a client that sends so many rows of an upload with this spec."""
        events = []
        for step in self.steps:
            events.append(step.event(spec, num_rows))
            spec = step.after(spec)
        return tuple(event for event in events if event is not None)

    def outgoing(self, rows: Rows, spec: RowsSpec, asked_N: IntArray, rng: np.random.Generator) -> Outgoing:
        """Bound the rows, take the steps, check the result.

        Raises:
            PayloadError: the rows are not finite, or not what the spec says.
        """
        bounded = spec.checked(rows, asked_N)
        clipped_fraction = float(np.mean(bounded.values_ND != rows.values_ND)) if rows.values_ND.size else 0.0
        for step in self.steps:
            changed, spec = step(bounded, spec, rng), step.after(spec)
            bounded = spec.checked(changed, asked_N)
        return Outgoing(bounded, spec, clipped_fraction)

    def encode(self, rows: Rows, spec: RowsSpec, asked_N: IntArray, memory: Arrays) -> tuple[Arrays, Arrays]:
        """Rows that `outgoing` has passed as the arrays of a message, and what the codec remembers of it.

        Raises:
            PayloadError: the encoding cannot hold them.
        """
        wire, memory = self.codec.encode(rows, memory)
        if not spec.weighted:
            return wire, memory
        present = np.packbits(np.isin(asked_N, rows.keys_N))
        return {**wire, _PRESENT: present, _WEIGHTS: rows.weights_N}, memory

    def decode(self, wire: Arrays, spec: RowsSpec, asked_N: IntArray, memory: Arrays) -> tuple[Rows, Arrays]:
        """Rows from the arrays of a message, checked against `spec`, which is `spec_after` of the upload's.

        Raises:
            PayloadError: an array is missing, malformed, or holds what the spec does not allow.
        """
        keys_N, weights_N = asked_N, np.ones(len(asked_N), np.float32)
        if spec.weighted:
            keys_N = asked_N[_unpacked(array_of(wire, _PRESENT, np.uint8), len(asked_N))]
            weights_N = array_of(wire, _WEIGHTS, np.float32)
        values_ND, memory = _decoded(self.codec, wire, keys_N, spec.width, memory)
        return spec.checked(Rows(keys_N, values_ND, weights_N), asked_N), memory

    def encode_down(self, rows: Rows) -> Arrays:
        """What the server tells, as arrays of a message; its keys travel beside them, and nothing is remembered."""
        return self.codec_down.encode(rows, {})[0]

    def decode_down(self, wire: Arrays, keys_N: IntArray, width: int) -> Rows:
        """What the server told.

        Raises:
            PayloadError: malformed, or not finite.
        """
        values_ND, _ = _decoded(self.codec_down, wire, keys_N, width, {})
        return RowsSpec("public", width).checked(Rows.of(keys_N, values_ND), keys_N)


def _decoded(codec: Codec, wire: Arrays, keys_N: IntArray, width: int, memory: Arrays) -> tuple[FloatArray, Arrays]:
    try:
        return codec.decode(wire, keys_N, width, memory)
    except PayloadError:
        raise
    except Exception as cause:  # a codec is anybody's code, and the arrays are whatever a hostile sender made them
        raise PayloadError("malformed", f"rows that cannot be decoded ({type(cause).__name__}: {cause})") from cause


def _unpacked(bits: npt.NDArray[Any], count: int) -> npt.NDArray[np.bool_]:
    if bits.shape != (-(-count // 8),):
        raise PayloadError("shape", f"{_PRESENT} has shape {bits.shape}; a bit for each of {count} keys")
    return np.unpackbits(bits.astype(np.uint8), count=count).astype(bool)
