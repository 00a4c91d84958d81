from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest


def _wait_for_rounds(rounds: Path, number: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if rounds.is_file() and rounds.read_bytes().count(b"\n") >= number:
            return
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"{number} rounds were not written: {process.communicate()[1]}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no SIGINT to a single process")
def test_an_interrupt_keeps_the_finished_rounds(
    folder: Path, start_process: Callable[..., subprocess.Popen[str]], invoke: Callable[..., str]
) -> None:
    run_dir = folder / "runs" / "stopped"
    overrides = ["--set", "run.name=stopped", "--set", "run.rounds=100000"]
    with start_process("simulate", "experiment.toml", *overrides) as process:
        _wait_for_rounds(run_dir / "rounds.jsonl", 2, process)
        process.send_signal(signal.SIGINT)
        try:
            stdout, stderr = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
    assert "\x1b" not in stderr
    clients, *rounds, last = stderr.splitlines()
    assert clients == "3 clients take part"
    assert all(line.startswith(f"round {number} · ") for number, line in enumerate(rounds, start=1))
    assert last == "interrupted; finished rounds are kept; continue with: fedkd simulate --resume runs/stopped"
    written = [json.loads(line) for line in (run_dir / "rounds.jsonl").read_text().splitlines()]
    assert len(written) >= 2
    output = invoke("report", run_dir)
    assert f"{100 * written[-1]['student']['accuracy']:.1f} %" in output
    assert f"{len(written)} of 100000 rounds" in (run_dir / "report.html").read_text(encoding="utf-8")


def test_an_interrupt_before_the_first_round_names_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from fedkd import experiment
    from fedkd.cli.main import app

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "open_workspace", interrupted)
    result = CliRunner().invoke(app, ["simulate", str(folder / "experiment.toml")])
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "interrupted; no round was begun\n"
