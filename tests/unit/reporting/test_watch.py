from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from fedkd.errors import RunFolderError
from fedkd.records import RoundRecord, RunRecord
from fedkd.reporting import RunStore
from fedkd.reporting.watch import Progress, look, picture, sparkline, watch

MakeRound = Callable[..., RoundRecord]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    store = RunStore.create(tmp_path, "a-run")
    store.write_config({"run": {"rounds": 3}})
    return store


def terminal(is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=100, color_system=None)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def grow(store: RunStore, run: RunRecord) -> Iterator[None]:
    """The life of a run as its folder shows it, a step for each `next`."""
    with store.locked():
        for record in run.history:
            yield
            store.append_round(record)
        yield
        store.write_run(run)
        yield
    yield


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_growing_run_is_shown_to_its_end(
    store: RunStore, make_run: Callable[..., RunRecord], is_terminal: bool
) -> None:
    console, life = terminal(is_terminal), grow(store, make_run(3))
    next(life)
    progress = watch(store, console, sleep=lambda _: next(life))
    assert (progress.state, len(progress.history)) == ("over", 3)
    for server_round in (1, 2, 3):
        assert shown(console).count(f"round {server_round} · ") == (0 if is_terminal else 1)
    if is_terminal:
        for expected in (
            "a-run: round 1 of 3",
            "round 3 of 3, about 4.2 s left",
            "baselines are being trained",
            "over, 3 of 3",
        ):
            assert expected in shown(console)


def test_a_run_that_nobody_is_at_was_stopped(store: RunStore, make_round: MakeRound) -> None:
    store.append_round(make_round(1))
    progress = watch(store, terminal(False), sleep=lambda _: pytest.fail("there is nothing to wait for"))
    assert (progress.state, len(progress.history)) == ("stopped", 1)


def test_looking_does_not_keep_a_writer_out(store: RunStore) -> None:
    assert look(store).state == "stopped"
    with store.locked():
        assert look(store).state == "running"
        with pytest.raises(RunFolderError, match="being written by another process"), store.locked():
            pass
    assert not store.is_being_written


def test_the_picture_holds_the_latest_numbers(make_round: MakeRound) -> None:
    console = terminal(True)
    rounds = [make_round(1), make_round(2, student={}, ensemble_teacher={}, clients={})]
    console.print(picture(Progress("a-run", "running", 10, rounds)))
    text = shown(console)
    assert "round 3 of 10, about 33.6 s left" in text  # 8 rounds of 4.2 s each
    assert "student           38.6 %  ▄" in text.splitlines()[2]  # of round 1: round 2 measured nothing
    assert "round 2: 4.2 s (local training 8.2 s" in text
    assert "so far: 8.4 s, 4.0 MB of payload" in text


def test_a_sparkline_has_a_block_for_each_of_the_last_rounds() -> None:
    assert sparkline([0.0, 0.5, None, 1.0]) == "▁▅ █"
    assert sparkline([0.0] * 10 + [1.0], width=3) == "▁▁█"


@pytest.mark.parametrize("config", [{}, {"run": {}}, {"run": {"rounds": "ten"}}, {"run": {"rounds": 0}}])
def test_a_configuration_without_rounds_is_refused(store: RunStore, config: dict[str, object]) -> None:
    store.write_config(config)
    with pytest.raises(RunFolderError, match=r"run\.rounds = .* is not allowed"):
        look(store)
