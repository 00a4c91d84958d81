"""What Flower's process puts into a queue arrives in order, whole, and once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedkd.engines.flower_relay import FileQueue, ObserverCall
from fedkd.errors import ConfigError
from fedkd.federation.server_app import FederationResult


def test_calls_are_taken_in_order_and_once(tmp_path: Path) -> None:
    writer, reader = FileQueue(tmp_path), FileQueue(tmp_path)
    calls = [ObserverCall("on_reply", (1, count, 20)) for count in range(20)]
    for call in calls[:12]:
        writer.put(call)
    assert list(reader.take()) == calls[:12]
    for call in calls[12:]:
        writer.put(call)
    assert list(reader.take()) == calls[12:]
    assert list(reader.take()) == []


def test_an_error_keeps_its_type_and_words(tmp_path: Path) -> None:
    FileQueue(tmp_path).put(ConfigError("clients.number", 10, "5"))
    (error,) = FileQueue(tmp_path).take()
    assert isinstance(error, ConfigError)
    assert (error.key, error.exit_code, str(error)) == ("clients.number", 2, "clients.number = 10 is not allowed: 5")


def test_a_result_keeps_its_bits(tmp_path: Path) -> None:
    weights = {"w": np.array([0.1, np.pi], np.float32)}
    FileQueue(tmp_path).put(FederationResult((), weights))
    (result,) = FileQueue(tmp_path).take()
    assert isinstance(result, FederationResult)
    assert result.student is not None
    assert result.student["w"].tobytes() == weights["w"].tobytes()


def test_what_is_half_written_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise OSError("interrupted")

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(OSError, match="interrupted"):
        FileQueue(tmp_path).put(ObserverCall("on_phase", (1, "training")))
    assert list(FileQueue(tmp_path).take()) == []
