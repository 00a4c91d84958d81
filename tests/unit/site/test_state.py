"""What a site keeps is back after a restart, for its owner alone, and for one run at a time."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from fedkd.errors import RunFolderError
from fedkd.site.state import SiteState


def records(value: float, secret: bytes) -> RecordDict:
    model = ArrayRecord({"w": Array(np.array([value], np.float32))})
    return RecordDict({"model": model, "secure_aggregation": ConfigRecord({"kept": secret})})


def test_records_come_back_in_another_process(tmp_path: Path) -> None:
    state = SiteState(tmp_path / "state")
    assert not state.load(7)
    state.save(7, records(0.5, b"s"))
    kept = SiteState(tmp_path / "state").load(7)
    assert kept.array_records["model"]["w"].numpy().tolist() == [0.5]
    assert kept.config_records["secure_aggregation"]["kept"] == b"s"


def test_all_of_it_is_its_owners_alone(tmp_path: Path) -> None:
    state = SiteState(tmp_path / "state")
    state.save(7, records(0.5, b"s"))
    state.keep_usage(state.usage_with(7, 1, 5))
    assert {path.name for path in (tmp_path / "state").rglob("*")} == {
        "run", "7", "model", "secure_aggregation", "usage.json",
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "state").rglob("*"))


def test_what_is_dropped_is_gone_from_disk(tmp_path: Path) -> None:
    state = SiteState(tmp_path)
    state.save(7, records(0.5, b"a secret of round 1"))
    state.save(7, records(0.5, b"-"))
    assert b"a secret" not in b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    state.save(7, RecordDict())
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_another_run_removes_the_one_before(tmp_path: Path) -> None:
    state = SiteState(tmp_path)
    state.save(7, records(0.5, b"s"))
    assert not state.load(8)
    assert not state.load(7)


def test_a_run_that_goes_on_with_another_takes_its_model_and_no_secret(tmp_path: Path) -> None:
    SiteState(tmp_path).save(7, records(0.5, b"s"))
    state = SiteState(tmp_path)
    assert set(state.load(8, resumed="7")) == {"model"}
    assert state.load(8, resumed="7").array_records["model"]["w"].numpy().tolist() == [0.5]
    assert not (tmp_path / "run" / "7").exists()
    state.save(8, records(0.25, b"t"))
    assert state.load(8, resumed="7").array_records["model"]["w"].numpy().tolist() == [0.25]


@pytest.mark.parametrize(
    ("here", "taken"),
    [({7: 0.5, 8: 0.25}, 0.25), ({7: 0.5}, 0.5), ({6: 1.0, 8: 0.25}, 0.25)],
    ids=["both", "away in the second", "and one of another run"],
)
def test_of_a_run_that_was_resumed_before_the_newest_model_is_taken(
    here: dict[int, float], taken: float, tmp_path: Path
) -> None:
    for run_id, value in here.items():
        SiteState(tmp_path).save(run_id, records(value, b"s"))
    kept = SiteState(tmp_path).load(9, resumed="7,8")
    assert set(kept) == {"model"}
    assert kept.array_records["model"]["w"].numpy().tolist() == [taken]
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["9"]


def test_a_take_over_that_is_cut_off_loses_no_model_and_keeps_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SiteState(tmp_path).save(7, records(0.5, b"a secret"))

    def cut_off(*_: object) -> None:
        raise OSError(5, "the power went")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", cut_off)
        with pytest.raises(RunFolderError, match="the power went"):
            SiteState(tmp_path).load(8, resumed="7")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["model"]
    assert SiteState(tmp_path).load(8, resumed="7").array_records["model"]["w"].numpy().tolist() == [0.5]


def test_a_model_that_is_removed_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "fedkd"):
        SiteState(tmp_path).save(7, records(0.5, b"s"))
        SiteState(tmp_path).load(8, resumed="7")
        assert not caplog.messages
        SiteState(tmp_path).load(9, resumed="6")
    assert caplog.messages == ["the model of run 8 is removed: run 9 takes its place"]


@pytest.mark.parametrize("resumed", ["", "9", "../7"])
def test_nothing_is_taken_from_a_run_that_was_not_the_one_before(resumed: str, tmp_path: Path) -> None:
    state = SiteState(tmp_path)
    state.save(7, records(0.5, b"s"))
    assert not state.load(8, resumed=resumed)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    state = SiteState(tmp_path)
    state.save(7, records(0.5, b"s"))
    (tmp_path / "run" / "7" / "model").write_bytes(b"\xff\xff")
    with pytest.raises(RunFolderError, match="model is damaged"):
        SiteState(tmp_path).load(7)
    (tmp_path / "usage.json").write_text("[]")
    with pytest.raises(RunFolderError, match=r"usage\.json is damaged"):
        state.usage_with(7, 1, 0)


def test_rounds_and_queries_add_up(tmp_path: Path) -> None:
    def ask(run_id: int, server_round: int, queries: int) -> tuple[int, int]:
        state = SiteState(tmp_path)
        usage = state.usage_with(run_id, server_round, queries)
        state.keep_usage(usage)
        return usage.rounds, usage.queries

    assert ask(7, 1, 0) == (1, 0)  # a stage of secure aggregation
    assert ask(7, 1, 20) == (1, 20)
    assert ask(7, 1, 20) == (2, 40)  # a second time in one round
    assert ask(7, 2, 20) == (3, 20)
    assert ask(7, 1, 20) == (4, 20)  # back to the first
    assert ask(8, 1, 20) == (5, 20)
