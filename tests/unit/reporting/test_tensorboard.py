"""Events are read back by a TFRecord and protobuf reader written here, not by the library that wrote them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedkd.errors import RunFolderError
from fedkd.records import RoundRecord
from fedkd.reporting import TensorBoardWriter
from fedkd.reporting.tensorboard import scalars


def fields(message: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield number and value of each field of a protobuf message."""
    position = 0

    def varint() -> int:
        nonlocal position
        value, shift = 0, 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
            continue
        length = {1: 8, 5: 4}.get(key & 7) or varint()
        yield key >> 3, message[position : position + length]
        position += length


def read_events(folder: Path) -> dict[tuple[str, int], float]:
    """Return the value of each (tag, step) in the one event file of `folder`."""
    (path,) = folder.glob("events.out.tfevents.*")
    content, position, values = path.read_bytes(), 0, {}
    while position < len(content):
        (length,) = struct.unpack_from("<Q", content, position)
        event = dict(fields(content[position + 12 : position + 12 + length]))
        position += 12 + length + 4
        if 5 in event:  # Event.summary -> Summary.value -> tag (1), simple_value (2)
            value = dict(fields(dict(fields(event[5]))[1]))
            values[value[1].decode(), event[2]] = struct.unpack("<f", value[2])[0]
    return values


def test_every_scalar_of_every_round_comes_back(tmp_path: Path, make_round: Callable[..., RoundRecord]) -> None:
    rounds = [make_round(number) for number in range(1, 13)]
    with TensorBoardWriter(tmp_path / "tensorboard") as writer:
        for record in rounds:
            writer.write(record)
    events = read_events(tmp_path / "tensorboard")
    for record in rounds:
        step = record.server_round
        expected = {
            "accuracy/student": record.student.accuracy,
            "accuracy/ensemble_teacher": record.ensemble_teacher.accuracy,
            "accuracy/clients_mean": record.clients.mean_accuracy,
            "accuracy/clients_worst": record.clients.worst_accuracy,
            "loss/student": record.student.loss,
            "bytes/up": record.bytes.up,
            "bytes/down": record.bytes.down,
            "seconds/local_training": record.seconds.local_training,
            "seconds/public_inference": record.seconds.public_inference,
            "seconds/aggregation": record.seconds.aggregation,
            "seconds/distillation": record.seconds.distillation,
            "seconds/evaluation": record.seconds.evaluation,
            "seconds/total": record.seconds.total,
        }
        assert {tag: value for (tag, at), value in events.items() if at == step} == pytest.approx(expected, rel=1e-6)


def test_what_was_not_measured_has_no_scalar() -> None:
    record = RoundRecord(server_round=1, completed=True, selected=(0,), replied=(0,))
    tags = [tag for tag, _ in scalars(record)]
    assert not [tag for tag in tags if tag.startswith(("accuracy/", "loss/"))]
    assert "bytes/up" in tags


def test_closing_twice_does_nothing(tmp_path: Path) -> None:
    writer = TensorBoardWriter(tmp_path)
    writer.close()
    writer.close()
    assert read_events(tmp_path) == {}


def test_a_folder_below_a_file_is_a_run_folder_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot write events to"):
        TensorBoardWriter(tmp_path / "file" / "below")


def test_a_relative_folder_is_never_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    TensorBoardWriter(Path("s3:") / "run").close()
    assert read_events(tmp_path / "s3:" / "run") == {}
