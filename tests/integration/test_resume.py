"""Runs that are killed and resumed end with the bytes of a run that was left alone."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import pytest

import fedkd
from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import ConfigError, DataError, RunFolderError
from fedkd.experiment import RunObserver, resume
from fedkd.records import RoundRecord
from fedkd.reporting import RunStore

MakeConfig = Callable[..., ExperimentConfig]
STATEFUL = {
    "method": {"name": "fedmd"},
    "clients": {"number": 4, "models": ["mlp", "cnn"], "fraction_train": 0.5},
}
MIXED_AND_KEPT = {
    "clients": {"number": 4, "models": ["mlp", "cnn"], "fraction_train": 0.5},
    "student": {"model": "mlp", "epochs": 2, "optimizer_state": "kept", "shards": 2},
    "payload": {"encoding": "int8"},
}


class StopAfter(RunObserver):
    """Stops the run as soon as a round is recorded, before its snapshot is written."""

    def __init__(self, server_round: int) -> None:
        self._round = server_round

    def on_round(self, record: RoundRecord) -> None:
        if record.server_round == self._round:
            raise KeyboardInterrupt


def whole_and_stopped(make: MakeConfig, output: Path, stop_after: int, **sections: object) -> tuple[Path, Path]:
    """The folders of the same experiment, run at once, and stopped after a round."""
    base = {"rounds": 4, "baselines": False, "output": str(output)}
    whole = fedkd.run(make(**sections, run=base | {"name": "whole"}))
    with pytest.raises(KeyboardInterrupt):
        fedkd.run(make(**sections, run=base | {"name": "stopped"}), StopAfter(stop_after))
    return Path(whole.run_dir), output / "stopped"


def scores(folder: Path) -> list[object]:
    return [
        record.model_dump(exclude={"seconds"}) | {"seconds": None} for record in RunStore.open(folder).read_rounds()
    ]


@pytest.mark.parametrize("sections", [STATEFUL, MIXED_AND_KEPT], ids=["stateful", "mixed"])
@pytest.mark.parametrize("stop_after", [1, 3, 4])
def test_a_stopped_run_ends_as_a_whole_one(
    small_config: MakeConfig, tmp_path: Path, sections: dict[str, object], stop_after: int
) -> None:
    whole, stopped = whole_and_stopped(small_config, tmp_path, stop_after, **sections)
    resume(stopped)
    assert scores(stopped) == scores(whole)
    if (whole / "student.safetensors").exists():
        assert (stopped / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()
    assert not (stopped / "snapshots").exists()
    assert (stopped / "report.html").is_file()


@pytest.mark.parametrize("damage", ["index", "server", "client", "missing"])
def test_a_damaged_snapshot_is_named_and_the_one_before_it_used(
    small_config: MakeConfig, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    whole, stopped = whole_and_stopped(small_config, tmp_path, 4, **STATEFUL)
    snapshots = stopped / "snapshots"
    assert sorted(path.name for path in snapshots.glob("round-*")) == ["round-000002.json", "round-000003.json"]
    victim = {
        "index": snapshots / "round-000003.json",
        "server": snapshots / "server-000003.safetensors",
        "missing": snapshots / "server-000003.safetensors",
        "client": next(snapshots.glob("client-*-000003.state")),
    }[damage]
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(victim.read_bytes()[:-7] + b"damaged")
    resume(stopped)
    assert "round-000003.json is damaged" in caplog.text
    assert scores(stopped) == scores(whole)


def test_without_a_whole_snapshot_a_run_begins_anew(
    small_config: MakeConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole, stopped = whole_and_stopped(small_config, tmp_path, 3, **STATEFUL)
    for path in (stopped / "snapshots").iterdir():
        path.write_bytes(b"")
    resume(stopped)
    assert caplog.text.count("is damaged") == 2
    assert scores(stopped) == scores(whole)


def test_a_finished_run_gets_the_report_and_baselines_that_it_lacks(small_config: MakeConfig, tmp_path: Path) -> None:
    run = {"rounds": 1, "baselines": True, "output": str(tmp_path), "name": "done"}
    record = fedkd.run(small_config(run=run))
    (tmp_path / "done" / "report.html").unlink()
    again = resume(tmp_path / "done")
    assert again == record
    assert (tmp_path / "done" / "report.html").is_file()


def test_only_what_results_do_not_depend_on_can_be_changed(small_config: MakeConfig, tmp_path: Path) -> None:
    _, stopped = whole_and_stopped(small_config, tmp_path, 2)
    with pytest.raises(ConfigError, match=r"only run\.engine and keys of \[ray\]"):
        resume(stopped, overrides=["run.seed=1"])
    with pytest.raises(ConfigError, match="'local'"):
        resume(stopped, overrides=["run.engine=spark"])


def test_a_run_with_other_data_is_not_resumed(small_config: MakeConfig, tmp_path: Path) -> None:
    _, stopped = whole_and_stopped(small_config, tmp_path, 2)
    environment = stopped / "environment.json"
    environment.write_text(environment.read_text().replace('"private_digest": "', '"private_digest": "0'))
    with pytest.raises(DataError, match="was started with other data: private_digest"):
        resume(stopped)


def test_a_run_that_another_process_writes_is_left_alone(small_config: MakeConfig, tmp_path: Path) -> None:
    _, stopped = whole_and_stopped(small_config, tmp_path, 2)
    with RunStore.open(stopped).locked(), pytest.raises(RunFolderError, match="is being written by another process"):
        resume(stopped)


def test_a_folder_that_is_no_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="it is missing"):
        resume(tmp_path / "absent")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_sigkill_at_random_moments_changes_nothing(small_config: MakeConfig, tmp_path: Path) -> None:
    run = {"rounds": 12, "baselines": False, "output": str(tmp_path)}
    whole = Path(fedkd.run(small_config(**MIXED_AND_KEPT, run=run | {"name": "whole"})).run_dir)
    seconds_a_round = mean(record.seconds.total for record in RunStore.open(whole).read_rounds())
    killed = tmp_path / "killed"
    config = (whole / "config.toml").read_text().replace('"whole"', '"killed"')
    (tmp_path / "killed.toml").write_text(config)
    moments = random.Random(0)  # noqa: S311 (no secret)
    arguments = [str(tmp_path / "killed.toml")]
    kills = 0
    while not (killed / "report.html").exists():
        command = [sys.executable, "-c", "from fedkd.cli.main import main; main()", "simulate", *arguments, "-q"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            before = rounds_in(killed)
            while process.poll() is None and rounds_in(killed) <= before:
                time.sleep(0.01)
            time.sleep(moments.uniform(0, seconds_a_round))
            if process.poll() is None and kills < 5:  # starting anew is what takes the time
                process.send_signal(signal.SIGKILL)
                kills += 1
            _, stderr = process.communicate()
        assert "rror" not in stderr
        arguments = ["--resume", str(killed)]
    assert kills >= 3
    assert (killed / "student.safetensors").read_bytes() == (whole / "student.safetensors").read_bytes()
    assert scores(killed) == scores(whole)


def rounds_in(folder: Path) -> int:
    """Rounds that are on disk."""
    log = folder / "rounds.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0
