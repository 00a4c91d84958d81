from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from typer.testing import CliRunner

from fedkd.cli.main import app
from fedkd.reporting import RunStore


def test_a_run_that_is_over_is_shown_once(run_dir: Path, invoke: Callable[..., str]) -> None:
    lines = invoke("watch", run_dir).splitlines()
    assert [line.partition(" · ")[0] for line in lines] == ["round 1", "round 2"]


def test_a_stopped_run_exits_with_1_and_says_how_to_go_on(run_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(run_dir, tmp_path / "stopped")
    (tmp_path / "stopped" / "run.json").unlink()
    result = CliRunner().invoke(app, ["watch", str(tmp_path / "stopped")])
    advice = f"the run was stopped; continue it with: fedkd simulate --resume {tmp_path / 'stopped'}\n"
    assert (result.exit_code, click.unstyle(result.stderr)) == (1, advice)


def test_what_is_no_run_folder_is_refused(folder: Path, refuse: Callable[..., str]) -> None:
    assert "is not a run folder: it is missing" in refuse("watch", folder / "absent")
    assert "is not a run folder: config.toml is missing" in refuse("watch", folder)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a single process")
def test_an_interrupt_ends_it_quietly(run_dir: Path, start_process: Callable[..., subprocess.Popen[str]]) -> None:
    store = RunStore.open(run_dir)
    with store.locked(), start_process("watch", str(run_dir)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("round 1 · ")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
