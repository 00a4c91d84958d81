"""Typed payloads and their records: the only place that names record keys, except those of `fedkd.flower.packing`.

| payload | direction | message type | what it carries |
| --- | --- | --- | --- |
| `Hello` | client → server | query.hello | who the client is, its version, model, and the digest of its public set |
| `TrainInstruction` | server → client | train | what to adopt, and which public samples to answer |
| `TrainReply` | client → server | train | logits or weights, metrics, and answers on the test split |
| `Absence` | client → server | train | a simulated drop-out or straggler; a real one would say nothing |

`from_records` functions validate: a missing or mistyped field is a `PayloadError` that names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from fedkd._version import __version__
from fedkd.aggregation import Weights
from fedkd.errors import PayloadError
from fedkd.flower.internals import MALFORMED, POLICY
from fedkd.payload import EncodedLogits
from fedkd.types import FloatArray

HELLO = "query.hello"
TRAIN = "train"

_HEADER, _METRICS, _WEIGHTS, _LOGITS = "header", "metrics", "weights", "logits"
_PUBLIC, _CONSENSUS, _EVALUATION = "public", "consensus", "evaluation"

_LONGEST_REASON = 500

_LARGEST_METRIC = 1e9
"""No honest count of samples, loss or time in seconds comes near; sums of larger ones could overflow."""

IndexArray = npt.NDArray[np.int32]
T = TypeVar("T")


@dataclass(frozen=True)
class Hello:
    """A client's answer to the server's first query."""

    client: int
    architecture: str
    num_classes: int
    public_digest: str
    version: str = __version__


@dataclass(frozen=True)
class TrainInstruction:
    """What a client is to do in a round.

    Attributes:
        server_round: from 1.
        public_indices_N: the public samples of this round.
        weights: the server's model, to be adopted; or `None`.
        consensus: (indices of M public samples, teacher logits [M, C]) to be digested; or `None`.
        evaluate: whether to answer on the test split, too.
    """

    server_round: int
    public_indices_N: IndexArray
    weights: Weights | None
    consensus: tuple[IndexArray, FloatArray] | None
    evaluate: bool


@dataclass(frozen=True)
class ClientMetrics:
    """What a client measured in a round; seconds of its own wall time."""

    num_examples: int
    train_loss: float
    clipped_fraction: float
    training_seconds: float
    public_inference_seconds: float
    evaluation_seconds: float


@dataclass(frozen=True)
class TrainReply:
    """What a client gives in a round: `logits`, encoded, or `weights`."""

    client: int
    server_round: int
    public_digest: str
    metrics: ClientMetrics
    logits: EncodedLogits | None = None
    weights: Weights | None = None
    test_logits: FloatArray | None = None
    version: str = __version__


@dataclass(frozen=True)
class Absence:
    """A simulated absence: `dropped` before the work, or `late` after it."""

    client: int
    kind: Literal["dropped", "late"]


def payload_bytes(content: RecordDict) -> int:
    """Bytes of arrays and byte strings; what serves only the measurement is left out."""
    arrays = sum(
        len(array.data)
        for key, record in content.array_records.items()
        if key != _EVALUATION
        for array in record.values()
    )
    strings = sum(
        len(value)
        for record in content.config_records.values()
        for value in record.values()
        if isinstance(value, bytes)
    )
    return arrays + strings


def content_of(message: Message) -> RecordDict:
    """What a client sent.

    Raises:
        PayloadError: an error came in its place.
    """
    if message.has_error():
        reason = {POLICY: "policy", MALFORMED: "malformed"}.get(message.error.code, "client_error")
        raise PayloadError(reason, one_line(str(message.error.reason)))
    return message.content


def one_line(text: str) -> str:
    """What a client says of its failure, made fit for a log: printable, one line, not too long."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:_LONGEST_REASON]


def hello_to_records(hello: Hello) -> RecordDict:
    """Pack a `Hello`."""
    return RecordDict({_HEADER: ConfigRecord(vars(hello))})


def hello_from_records(content: RecordDict) -> Hello:
    """Unpack a `Hello`."""
    return Hello(
        client=_field(content, "client", int),
        architecture=_field(content, "architecture", str),
        num_classes=_field(content, "num_classes", int),
        public_digest=_field(content, "public_digest", str),
        version=_field(content, "version", str),
    )


def instruction_to_records(instruction: TrainInstruction) -> RecordDict:
    """Pack a `TrainInstruction`."""
    content = RecordDict(
        {
            _HEADER: ConfigRecord(
                {
                    "version": __version__,
                    "server_round": instruction.server_round,
                    "evaluate": instruction.evaluate,
                }
            ),
            _PUBLIC: _arrays(indices=instruction.public_indices_N),
        }
    )
    if instruction.weights is not None:
        content[_WEIGHTS] = _arrays(**instruction.weights)
    if instruction.consensus is not None:
        indices_M, logits_MC = instruction.consensus
        content[_CONSENSUS] = _arrays(indices=indices_M, logits=logits_MC)
    return content


def instruction_from_records(content: RecordDict) -> TrainInstruction:
    """Unpack a `TrainInstruction`; refuse another version's."""
    check_version(_field(content, "version", str))
    consensus = None
    if _CONSENSUS in content:
        consensus = (_array(content, _CONSENSUS, "indices"), _array(content, _CONSENSUS, "logits"))
    return TrainInstruction(
        server_round=_field(content, "server_round", int),
        public_indices_N=_array(content, _PUBLIC, "indices"),
        weights=_weights(content) if _WEIGHTS in content else None,
        consensus=consensus,
        evaluate=_field(content, "evaluate", bool),
    )


def reply_to_records(reply: TrainReply | Absence) -> RecordDict:
    """Pack a `TrainReply` or an `Absence`."""
    if isinstance(reply, Absence):
        return RecordDict({_HEADER: ConfigRecord({"client": reply.client, "absence": reply.kind})})
    header: dict[str, Any] = {
        "client": reply.client,
        "version": reply.version,
        "server_round": reply.server_round,
        "public_digest": reply.public_digest,
    }
    content = RecordDict({_METRICS: MetricRecord(vars(reply.metrics))})
    if reply.logits is not None:
        header["logits_scale"] = reply.logits.scale
        content[_LOGITS] = _arrays(logits=reply.logits.data)
    if reply.weights is not None:
        content[_WEIGHTS] = _arrays(**reply.weights)
    if reply.test_logits is not None:
        content[_EVALUATION] = _arrays(logits=reply.test_logits)
    content[_HEADER] = ConfigRecord(header)
    return content


def absence_from_records(content: RecordDict) -> Absence | None:
    """Unpack an `Absence`, where records hold one."""
    if "absence" not in content.config_records.get(_HEADER, {}):
        return None
    kind = _field(content, "absence", str)
    if kind not in ("dropped", "late"):
        raise PayloadError("malformed", f"header field 'absence' is {kind!r}; 'dropped' or 'late'")
    return Absence(_field(content, "client", int), cast(Literal["dropped", "late"], kind))


def reply_from_records(content: RecordDict) -> TrainReply | Absence:
    """Unpack what a client sent; refuse another version's."""
    client = _field(content, "client", int)
    absence = absence_from_records(content)
    if absence is not None:
        return absence
    version = _field(content, "version", str)
    check_version(version)
    logits = None
    if _LOGITS in content:
        logits = EncodedLogits(_array(content, _LOGITS, "logits"), _field(content, "logits_scale", float))
    return TrainReply(
        client=client,
        server_round=_field(content, "server_round", int),
        public_digest=_field(content, "public_digest", str),
        metrics=_metrics(content),
        logits=logits,
        weights=_weights(content) if _WEIGHTS in content else None,
        test_logits=_array(content, _EVALUATION, "logits") if _EVALUATION in content else None,
        version=version,
    )


def check_version(version: str) -> None:
    """Refuse another version of fedkd.

    Raises:
        PayloadError: the versions differ.
    """
    if version != __version__:
        raise PayloadError("version", f"the peer runs fedkd {version}, this side {__version__}; both must be equal")


def _arrays(**arrays: npt.NDArray[Any]) -> ArrayRecord:
    return ArrayRecord({key: Array(np.asarray(array, order="C")) for key, array in arrays.items()})


def _array(content: RecordDict, record: str, key: str) -> npt.NDArray[Any]:
    try:
        array = content.array_records[record][key]
    except KeyError as cause:
        raise PayloadError("missing", f"no array {key!r} in record {record!r}") from cause
    return _numpy(array, f"{record}/{key}")


def _numpy(array: Array, name: str) -> npt.NDArray[Any]:
    try:
        values = array.numpy()
    except Exception as cause:  # the parser of NumPy's format raises many types on hostile bytes
        raise PayloadError("malformed", f"array {name!r} cannot be read ({cause})") from cause
    if not isinstance(values, np.ndarray):
        raise PayloadError("malformed", f"array {name!r} cannot be read (an archive, not an array)")
    return values


def _weights(content: RecordDict) -> Weights:
    return {key: _numpy(array, f"weights/{key}") for key, array in content.array_records[_WEIGHTS].items()}


def _metrics(content: RecordDict) -> ClientMetrics:
    record = content.metric_records.get(_METRICS)
    if record is None:
        raise PayloadError("missing", f"no record {_METRICS!r}")
    names = ClientMetrics.__dataclass_fields__
    missing = [name for name in names if name not in record]
    if missing:
        raise PayloadError("missing", f"no metric {missing[0]!r}")
    values = {name: record[name] for name in names}
    wrong = [name for name, value in values.items() if isinstance(value, list) or not 0 <= value <= _LARGEST_METRIC]
    if wrong:
        raise PayloadError(
            "malformed", f"metric {wrong[0]!r} is {values[wrong[0]]}; a number from 0 to {_LARGEST_METRIC:g}"
        )
    return ClientMetrics(**{**values, "num_examples": int(cast(float, values["num_examples"]))})  # type: ignore[arg-type]


def _field(content: RecordDict, key: str, kind: type[T]) -> T:
    return field_of(content, _HEADER, key, kind)


def field_of(content: RecordDict, record: str, key: str, kind: type[T]) -> T:
    """Read one field of a configuration record.

    Raises:
        PayloadError: it is missing, or of another type.
    """
    fields = content.config_records.get(record)
    if fields is None or key not in fields:
        raise PayloadError("missing", f"no field {key!r} in record {record!r}")
    value = fields[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise PayloadError("malformed", f"{record} field {key!r} is {value!r:.100}; a {kind.__name__}")
    return value
