from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedkd.errors import RunFolderError
from fedkd.records import Refusal, RoundRecord
from fedkd.storage.round_log import append_round, read_rounds

MakeRound = Callable[..., RoundRecord]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rounds.jsonl"


def test_no_file_means_no_round_yet(path: Path) -> None:
    assert read_rounds(path) == ()


def test_rounds_come_back_in_order_one_a_line(path: Path, make_round: MakeRound) -> None:
    rounds = tuple(make_round(server_round) for server_round in range(1, 6))
    for record in rounds:
        append_round(path, record)
    assert read_rounds(path) == rounds
    assert path.read_bytes().count(b"\n") == 5


def test_a_line_break_in_a_detail_does_not_break_the_line(path: Path, make_round: MakeRound) -> None:
    record = make_round(1, refused=(Refusal(client=None, reason="shape", detail="one\ntwo\u2028three"),))
    append_round(path, record)
    assert read_rounds(path) == (record,)


def test_each_round_is_on_disk_before_append_returns(
    path: Path, make_round: MakeRound, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes_at_sync = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: sizes_at_sync.append(os.fstat(descriptor).st_size))
    append_round(path, make_round(1))
    assert sizes_at_sync == [path.stat().st_size]


def test_a_torn_last_line_is_left_out_and_named(
    path: Path, make_round: MakeRound, caplog: pytest.LogCaptureFixture
) -> None:
    append_round(path, make_round(1))
    with path.open("ab") as file:
        file.write(b'{"server_round": 2, "comp')
    with caplog.at_level(logging.WARNING):
        assert read_rounds(path) == (make_round(1),)
    assert "line 2 is torn" in caplog.text
    assert str(path) in caplog.text


def test_appending_after_a_torn_line_cuts_it_off(
    path: Path, make_round: MakeRound, caplog: pytest.LogCaptureFixture
) -> None:
    append_round(path, make_round(1))
    with path.open("ab") as file:
        file.write(b'{"server_round": 2, "comp')
    append_round(path, make_round(2))
    assert "line 2 is torn" in caplog.text
    assert read_rounds(path) == (make_round(1), make_round(2))


def test_a_torn_first_line_is_cut_off_too(path: Path, make_round: MakeRound) -> None:
    path.write_bytes(b'{"ser')
    assert read_rounds(path) == ()
    append_round(path, make_round(1))
    assert read_rounds(path) == (make_round(1),)


@given(cut=st.integers(min_value=0, max_value=10_000))
def test_wherever_a_crash_cuts_the_file_the_rounds_before_survive(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("log") / "rounds.jsonl"
    rounds = [RoundRecord(server_round=number, completed=True, selected=(0,), replied=(0,)) for number in range(1, 4)]
    whole = b"".join(record.model_dump_json().encode() + b"\n" for record in rounds)
    kept = whole[: cut % (len(whole) + 1)]
    path.write_bytes(kept)
    survivors = tuple(rounds[: kept.count(b"\n")])
    assert read_rounds(path) == survivors
    append_round(path, rounds[0])
    assert read_rounds(path) == (*survivors, rounds[0])


@pytest.mark.parametrize("damage", [b"{}\n", b"\n", b"\xff\xfe\n", b'{"server_round": NaN}\n'])
def test_a_damaged_line_in_the_middle_is_an_error_with_its_number(
    path: Path, make_round: MakeRound, damage: bytes
) -> None:
    append_round(path, make_round(1))
    with path.open("ab") as file:
        file.write(damage)
    append_round(path, make_round(3))
    with pytest.raises(RunFolderError, match="line 2 does not hold a round"):
        read_rounds(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_a_run_folder_error(path: Path, make_round: MakeRound) -> None:
    path.symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match="No space left on device"):
        append_round(path, make_round(1))
