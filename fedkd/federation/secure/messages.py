"""What secure aggregation adds to the payloads: a request and an answer at each of its stages.

| stage | Flower message | what rides along |
| --- | --- | --- |
| advertise, share, confirm, unmask | query.secure | nothing |
| mask | train | the round's instruction, and the digests of the instructions of all architectures |

The protocol's own messages are bytes; `fedkd.secure_aggregation` reads and checks them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import numpy.typing as npt
from flwr.app import ConfigRecord, RecordDict

from fedkd.errors import PayloadError
from fedkd.federation.messages import TrainInstruction
from fedkd.federation.record_fields import field_of

SECURE = "query.secure"

SecureStage = Literal["advertise", "share", "mask", "confirm", "unmask"]
STAGES: tuple[SecureStage, ...] = get_args(SecureStage)

_RECORD = "secure_aggregation"

T = TypeVar("T")


@dataclass(frozen=True)
class SecureRequest:
    """What the server asks of a client at a stage.

    Attributes:
        stage: which.
        server_round: from 1.
        message: the protocol's message.
        digests: at the mask stage, by architecture the digest of its instruction; see `instruction_digest`.
    """

    stage: SecureStage
    server_round: int
    message: bytes
    digests: Mapping[str, str]


@dataclass(frozen=True)
class SecureAnswer:
    """What a client answers at a stage.

    Attributes:
        client: who.
        message: the protocol's.
        advertisement: with the last answer of a round, the client's keys for the next; empty where it sends none.
        aborted: why it has left the round; empty where it has not.
    """

    client: int
    message: bytes = b""
    advertisement: bytes = b""
    aborted: str = ""


def request_to_records(request: SecureRequest) -> RecordDict:
    """Pack a `SecureRequest`."""
    return RecordDict({_RECORD: _request_record(request)})


def with_request(content: RecordDict, request: SecureRequest) -> RecordDict:
    """An instruction's records with a request beside them; the instruction's arrays are shared, not copied."""
    return RecordDict({**content, _RECORD: _request_record(request)})


def has_request(content: RecordDict) -> bool:
    """Whether records hold a request of secure aggregation."""
    return _RECORD in content.config_records


def request_from_records(content: RecordDict) -> SecureRequest:
    """Unpack a `SecureRequest`.

    Raises:
        PayloadError: a field is missing or of another type.
    """
    stage = _field(content, "stage", str)
    if stage not in STAGES:
        raise PayloadError("malformed", f"stage is {stage!r}; one of {', '.join(STAGES)}")
    architectures, digests = _field(content, "architectures", str), _field(content, "digests", str)
    return SecureRequest(
        stage=stage,
        server_round=_field(content, "server_round", int),
        message=_field(content, "message", bytes),
        digests=dict(zip(architectures.split("\n"), digests.split("\n"), strict=False)) if architectures else {},
    )


def answer_to_records(answer: SecureAnswer) -> RecordDict:
    """Pack a `SecureAnswer`."""
    return RecordDict({_RECORD: ConfigRecord(vars(answer))})


def answer_from_records(content: RecordDict) -> SecureAnswer:
    """Unpack a `SecureAnswer`.

    Raises:
        PayloadError: a field is missing or of another type.
    """
    return SecureAnswer(
        client=_field(content, "client", int),
        message=_field(content, "message", bytes),
        advertisement=_field(content, "advertisement", bytes),
        aborted=_field(content, "aborted", str),
    )


def instruction_digest(instruction: TrainInstruction) -> str:
    """SHA-256 of all that a client is to adopt and to answer, in hex."""
    digest = hashlib.sha256(f"{instruction.server_round} {instruction.evaluate} {instruction.setting}\n".encode())

    def add(name: str, array: npt.NDArray[Any]) -> None:
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.asarray(array, order="C").tobytes())

    add("asked", instruction.asked_N)
    for name, array in sorted((instruction.weights or {}).items()):
        add(f"weights {name}", array)
    if instruction.told is not None:
        add("told keys", instruction.told.keys_M)
        for name, array in sorted(instruction.told.wire.items()):
            add(f"told {instruction.told.width} {name}", array)
    return digest.hexdigest()


def student_digest(digests: Mapping[str, str]) -> bytes:
    """SHA-256 over the instructions of all architectures, 32 bytes: what the clients of one sum must agree on."""
    lines = "".join(f"{name}\n{digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).digest()


def _request_record(request: SecureRequest) -> ConfigRecord:
    return ConfigRecord(
        {
            "stage": request.stage,
            "server_round": request.server_round,
            "message": request.message,
            "architectures": "\n".join(request.digests),
            "digests": "\n".join(request.digests.values()),
        }
    )


def _field(content: RecordDict, key: str, kind: type[T]) -> T:
    return field_of(content, _RECORD, key, kind)
