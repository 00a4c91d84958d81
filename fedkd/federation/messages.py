"""Typed payloads and their records: the only place that names record keys, except those of `fedkd.flower.packing`.

| payload | direction | message type | what it carries |
| --- | --- | --- | --- |
| `Hello` | client → server | query.hello | who the client is, its version, model, and the digest of its public set |
| `TrainInstruction` | server → client | train | what to adopt, what was told, and which keys are asked for |
| `TrainReply` | client → server | train | encoded rows or weights, metrics, and answers on the test split |
| `Absence` | client → server | train | a simulated drop-out or straggler; a real one would say nothing |

`from_records` functions validate: a missing or mistyped field is a `PayloadError` that names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from fedkd._version import __version__
from fedkd.aggregation import Weights
from fedkd.errors import PayloadError
from fedkd.flower.internals import MALFORMED, POLICY
from fedkd.payload import Arrays, Rows
from fedkd.types import FloatArray

HELLO = "query.hello"
TRAIN = "train"

_HEADER, _METRICS, _WEIGHTS, _ROWS = "header", "metrics", "weights", "rows"
_ASKED, _TOLD, _EVALUATION = "asked", "told", "evaluation"

_KEYS = "row_keys"

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
class Told:
    """Rows that the server sends down, as they travel.

    Attributes:
        keys_M: public samples or classes, ascending.
        width: values of a row.
        wire: the encoded values.
    """

    keys_M: IndexArray
    width: int
    wire: Arrays


@dataclass(frozen=True)
class TrainInstruction:
    """What a client is to do in a round.

    Attributes:
        server_round: from 1.
        asked_N: the public samples, or the classes, for which rows are asked; ascending.
        weights: the server's model, to be adopted; or `None`.
        told: rows to learn from; or `None`.
        evaluate: whether to answer on the test split, too.
        used_round: the last round of which this client's rows were used, for a codec that remembers; else 0.
        setting: the temperature and alpha that the server has chosen; `None` where the configuration's hold.
    """

    server_round: int
    asked_N: IndexArray
    weights: Weights | None
    told: Told | None
    evaluate: bool
    used_round: int = 0
    setting: tuple[float, float] | None = None


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
    """What a client gives in a round.

    Attributes:
        client: partition id.
        server_round: the round that it answers.
        public_digest: of its public set.
        metrics: what it measured.
        rows: its rows as they travel; `None` where it sends none.
        weights: its weights; `None` where they do not travel.
        test_logits: on the test split [M, C]; `None` where it is not measured.
        test_rows: the upload made on the test split, where that is something else than `test_logits`.
        based_on: the round whose memory the codec used; 0 for none.
    """

    client: int
    server_round: int
    public_digest: str
    metrics: ClientMetrics
    rows: Arrays | None = None
    weights: Weights | None = None
    test_logits: FloatArray | None = None
    test_rows: Rows | None = None
    based_on: int = 0
    version: str = __version__


@dataclass(frozen=True)
class Absence:
    """A simulated absence: `dropped` before the work, or `late` after it."""

    client: int
    kind: Literal["dropped", "late"]


def payload_bytes(content: RecordDict) -> int:
    """Bytes of arrays and byte strings; what serves only the measurement is left out."""
    records = (record for key, record in content.array_records.items() if key != _EVALUATION)
    strings = sum(
        len(value)
        for record in content.config_records.values()
        for value in record.values()
        if isinstance(value, bytes)
    )
    return sum(map(_array_bytes, records)) + strings


def evaluation_bytes(content: RecordDict) -> int:
    """Bytes of arrays that serve only the measurement."""
    return _array_bytes(content.array_records.get(_EVALUATION, ArrayRecord()))


def _array_bytes(record: ArrayRecord) -> int:
    return sum(len(array.data) for array in record.values())


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
    header: dict[str, Any] = {
        "version": __version__,
        "server_round": instruction.server_round,
        "evaluate": instruction.evaluate,
        "used_round": instruction.used_round,
    }
    content = RecordDict({_ASKED: _arrays({"keys": instruction.asked_N})})
    if instruction.weights is not None:
        content[_WEIGHTS] = _arrays(instruction.weights)
    if instruction.told is not None:
        content[_TOLD] = _arrays({_KEYS: instruction.told.keys_M, **instruction.told.wire})
        header["told_width"] = instruction.told.width
    if instruction.setting is not None:
        header["temperature"], header["alpha"] = instruction.setting
    content[_HEADER] = ConfigRecord(header)
    return content


def instruction_from_records(content: RecordDict) -> TrainInstruction:
    """Unpack a `TrainInstruction`; refuse another version's."""
    check_version(_field(content, "version", str))
    chosen = "temperature" in content.config_records[_HEADER]
    return TrainInstruction(
        server_round=_field(content, "server_round", int),
        asked_N=_keys(_array(content, _ASKED, "keys"), _ASKED),
        weights=_arrays_of(content, _WEIGHTS) if _WEIGHTS in content else None,
        told=_told(content) if _TOLD in content else None,
        evaluate=_field(content, "evaluate", bool),
        used_round=_field(content, "used_round", int),
        setting=(_field(content, "temperature", float), _field(content, "alpha", float)) if chosen else None,
    )


def round_of(content: RecordDict) -> int:
    """The round of an instruction, without its arrays.

    Raises:
        PayloadError: there is none.
    """
    return _field(content, "server_round", int)


def _told(content: RecordDict) -> Told:
    wire = _arrays_of(content, _TOLD)
    if _KEYS not in wire:
        raise PayloadError("missing", f"no array {_KEYS!r} in record {_TOLD!r}")
    return Told(_keys(wire.pop(_KEYS), _TOLD), _field(content, "told_width", int), wire)


def _keys(keys_N: npt.NDArray[Any], record: str) -> IndexArray:
    if keys_N.dtype != np.int32 or keys_N.ndim != 1 or (np.diff(keys_N) <= 0).any():
        raise PayloadError("malformed", f"keys in record {record!r} are no ascending int32 array")
    return keys_N


def reply_to_records(reply: TrainReply | Absence) -> RecordDict:
    """Pack a `TrainReply` or an `Absence`."""
    if isinstance(reply, Absence):
        return RecordDict({_HEADER: ConfigRecord({"client": reply.client, "absence": reply.kind})})
    header: dict[str, Any] = {
        "client": reply.client,
        "version": reply.version,
        "server_round": reply.server_round,
        "public_digest": reply.public_digest,
        "based_on": reply.based_on,
    }
    content = RecordDict({_METRICS: MetricRecord(vars(reply.metrics)), _HEADER: ConfigRecord(header)})
    if reply.rows is not None:
        content[_ROWS] = _arrays(reply.rows)
    if reply.weights is not None:
        content[_WEIGHTS] = _arrays(reply.weights)
    measured: dict[str, npt.NDArray[Any]] = {}
    if reply.test_logits is not None:
        measured["logits"] = reply.test_logits
    if reply.test_rows is not None:
        rows = reply.test_rows
        measured |= {"keys": rows.keys_N, "values": rows.values_ND, "weights": rows.weights_N}
    if measured:
        content[_EVALUATION] = _arrays(measured)
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
    measured = _arrays_of(content, _EVALUATION) if _EVALUATION in content else {}
    return TrainReply(
        client=client,
        server_round=_field(content, "server_round", int),
        public_digest=_field(content, "public_digest", str),
        metrics=_metrics(content),
        rows=_arrays_of(content, _ROWS) if _ROWS in content else None,
        weights=_arrays_of(content, _WEIGHTS) if _WEIGHTS in content else None,
        test_logits=cast("FloatArray | None", measured.get("logits")),  # its dtype is checked where it is used
        test_rows=_rows(measured) if "values" in measured else None,
        based_on=_field(content, "based_on", int),
        version=version,
    )


def _rows(arrays: Mapping[str, npt.NDArray[Any]]) -> Rows:
    for name in ("keys", "weights"):
        if name not in arrays:
            raise PayloadError("missing", f"no array {name!r} in record {_EVALUATION!r}")
    if arrays["keys"].dtype != np.int64:
        raise PayloadError("dtype", f"keys in record {_EVALUATION!r} are {arrays['keys'].dtype}; int64")
    return Rows(arrays["keys"], arrays["values"], arrays["weights"])


def check_version(version: str) -> None:
    """Refuse another version of fedkd.

    Raises:
        PayloadError: the versions differ.
    """
    if version != __version__:
        raise PayloadError("version", f"the peer runs fedkd {version}, this side {__version__}; both must be equal")


def _arrays(arrays: Arrays) -> ArrayRecord:
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


def _arrays_of(content: RecordDict, record: str) -> Weights:
    return {key: _numpy(array, f"{record}/{key}") for key, array in content.array_records[record].items()}


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
