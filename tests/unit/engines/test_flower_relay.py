"""What Flower's process puts into a queue arrives in order, whole, and once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedkd.config.experiment import parse_config
from fedkd.engines.flower_relay import FileQueue, ObserverCall, Relay
from fedkd.engines.simulation import simulate
from fedkd.errors import ConfigError
from fedkd.federation.answers import RoundArrays
from fedkd.federation.observers import Observer, Observers
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


class Teachers(Observer):
    """Keeps the bits of every teacher that it hears of."""

    def __init__(self) -> None:
        self.heard: dict[int, bytes] = {}

    def on_arrays(self, server_round: int, arrays: RoundArrays) -> None:
        assert arrays.teacher is not None
        self.heard[server_round] = arrays.teacher.values_ND.tobytes()


@pytest.mark.parametrize("arrays", [True, False])
def test_arrays_are_relayed_where_somebody_hears_them(tmp_path: Path, arrays: bool) -> None:
    config = parse_config(
        {
            "run": {"rounds": 2, "baselines": False},
            "data": {"train_size": 100, "test_size": 40, "public": {"size": 20}, "partition": {"min_size": 5}},
            "clients": {"number": 2, "models": ["mlp"]},
            "training": {"epochs": 1},
            "student": {"model": "mlp", "epochs": 1},
        }
    )
    here, there = Teachers(), Teachers()
    simulate(config, Observers([here, Relay(FileQueue(tmp_path), arrays)]))
    calls = [call for call in FileQueue(tmp_path).take() if isinstance(call, ObserverCall)]
    for call in calls:
        getattr(there, call.method)(*call.arguments)
    assert {call.method for call in calls} >= {"on_clients", "on_reply", "on_phase", "on_round"}
    assert sorted(here.heard) == [1, 2]
    assert there.heard == (here.heard if arrays else {})
