"""A federation that goes on from a snapshot ends as one that was never stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedkd.config.experiment import ExperimentConfig
from fedkd.federation.checkpoints import Checkpoints
from fedkd.federation.observers import Observer
from fedkd.records import RoundRecord
from fedkd.storage.snapshots import SnapshotStore

Make = Callable[..., ExperimentConfig]


class StopAfter(Observer):
    """Stops the run when a round is recorded: its snapshot is not written any more."""

    def __init__(self, server_round: int) -> None:
        self._last = server_round

    def on_round(self, record: RoundRecord) -> None:
        if record.server_round == self._last:
            raise KeyboardInterrupt


def without_seconds(record: RoundRecord) -> dict[str, Any]:
    return record.model_dump(exclude={"seconds"})


SECTIONS: dict[str, dict[str, Any]] = {
    "clients' own models and the teacher": {"method": {"name": "fedmd", "public_per_round": 8}},
    "the student and what its optimiser remembers": {"student": {"optimizer": "adam", "optimizer_state": "kept"}},
    "models of two architectures": {"method": {"name": "feddf"}, "clients": {"models": ["mlp", "cnn"]}},
    "a chosen temperature": {"student": {"temperature_selection": {"grid": [1.0, 4.0], "every": 0}}},
    "drawn clients": {"method": {"name": "fedmd"}, "clients": {"number": 6, "fraction_train": 0.5}},
}


@pytest.mark.parametrize("name", SECTIONS)
def test_a_resumed_run_ends_as_a_whole_one(
    make_config: Make, federate: Any, payloads: Any, same_bits: Any, tmp_path: Path, name: str
) -> None:
    """The run is stopped before the snapshot of round 2, so that it goes on with that round."""
    config = make_config(run={"rounds": 3}, **SECTIONS[name])
    whole, whole_grid = federate(config)
    store = SnapshotStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        federate(config, observer=StopAfter(2), checkpoints=Checkpoints(store))
    snapshot = store.read_latest()
    assert snapshot.server_round == 1
    history = whole.history[:1]
    resumed, grid = federate(config, checkpoints=Checkpoints(store, snapshot, history))
    assert list(map(without_seconds, resumed.history)) == list(map(without_seconds, whole.history))
    assert resumed.history[:1] == history
    assert not grid.asked(1)
    for server_round in (2, 3):
        assert grid.asked(server_round).keys() == whole_grid.asked(server_round).keys()
        for client, message in whole_grid.asked(server_round).items():
            assert payloads.arrays(grid.asked(server_round)[client]) == payloads.arrays(message)
    if whole.student is not None:
        assert same_bits(resumed.student, whole.student)
    assert grid.states() == whole_grid.states()


def test_a_snapshot_is_written_after_every_round(make_config: Make, federate: Any, tmp_path: Path) -> None:
    store, written = SnapshotStore(tmp_path), []

    class Looking(Observer):
        """Hears of a round before its snapshot is written: what it finds is of the round before."""

        def on_round(self, record: RoundRecord) -> None:
            snapshot = store.read_latest()
            written.append((record.server_round, snapshot and snapshot.server_round))

    federate(make_config(run={"rounds": 3}), observer=Looking(), checkpoints=Checkpoints(store))
    assert written == [(1, None), (2, 1), (3, 2)]
    assert store.read_latest().server_round == 3
