from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def test_a_finished_run_is_reported_as_it_was(run_dir: Path, tmp_path: Path, invoke: Callable[..., str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    (copy / "report.html").unlink()
    shutil.rmtree(copy / "plots")
    output = invoke("report", copy)
    assert (copy / "report.html").read_bytes() == (run_dir / "report.html").read_bytes()
    for plot in (run_dir / "plots").iterdir():
        assert (copy / "plots" / plot.name).read_bytes() == plot.read_bytes()
    accuracy = json.loads((run_dir / "run.json").read_text())["student"]["accuracy"]
    assert f"{100 * accuracy:.1f} %" in output
    assert output.splitlines()[-1] == f"report: {copy / 'report.html'}"


def test_an_unfinished_run_is_reported_as_far_as_it_came(
    run_dir: Path, tmp_path: Path, invoke: Callable[..., str]
) -> None:
    """The process died while it wrote its second round."""
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run_dir, unfinished)
    (unfinished / "run.json").unlink()
    (unfinished / "report.html").unlink()
    first, second = (unfinished / "rounds.jsonl").read_text().splitlines(keepends=True)
    (unfinished / "rounds.jsonl").write_text(first + second[:40])
    assert invoke("report", unfinished, "--quiet") == ""
    assert "still going, or was stopped: 1 of 2 rounds" in (unfinished / "report.html").read_text(encoding="utf-8")
    assert not (unfinished / "run.json").exists()


def test_what_is_no_run_folder_is_refused(folder: Path, refuse: Callable[..., str]) -> None:
    assert "is not a run folder: it is missing" in refuse("report", folder / "absent")
    assert "is not a run folder: config.toml is missing" in refuse("report", folder)
    assert "is not a run folder: not a folder" in refuse("report", folder / "experiment.toml")


def test_a_damaged_run_is_refused(run_dir: Path, tmp_path: Path, refuse: Callable[..., str]) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run_dir, damaged)
    (damaged / "run.json").write_text('{"run_dir": 1')
    assert "run.json does not hold a RunRecord" in refuse("report", damaged)
    (damaged / "run.json").unlink()
    (damaged / "config.toml").write_text("[run]\nrounds = 0\n")
    assert "run.rounds = 0 is not allowed" in refuse("report", damaged)


def test_several_runs_are_compared_in_one_file(run_dir: Path, tmp_path: Path, invoke: Callable[..., str]) -> None:
    shutil.copytree(run_dir, tmp_path / "other")
    output = tmp_path / "both.html"
    said = invoke("report", run_dir, tmp_path / "other", "--output", output)
    assert said.splitlines()[-1] == f"report: {output}"
    assert said.count("local-only (baseline)") == 2
    page = output.read_text(encoding="utf-8")
    assert "2 runs compared" in page
    assert not (tmp_path / "other" / "both.html").exists()


def test_a_comparison_without_a_name_lies_in_the_working_folder(
    run_dir: Path, tmp_path: Path, invoke: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    invoke("report", run_dir, run_dir, "--quiet")
    assert [path.name for path in tmp_path.iterdir()] == ["comparison.html"]


def test_the_report_of_one_run_can_lie_elsewhere(run_dir: Path, tmp_path: Path, invoke: Callable[..., str]) -> None:
    invoke("report", run_dir, "--output", tmp_path / "a.html", "--quiet")
    assert (tmp_path / "a.html").read_bytes() == (run_dir / "report.html").read_bytes()


def test_one_run_folder_among_several_that_is_none_is_refused(
    run_dir: Path, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    assert "is not a run folder: it is missing" in refuse("report", run_dir, tmp_path / "absent")
    assert "cannot write" in refuse("report", run_dir, run_dir, "--output", tmp_path / "absent" / "both.html")


def test_a_record_of_an_earlier_version_can_be_reported(
    run_dir: Path, tmp_path: Path, invoke: Callable[..., str]
) -> None:
    old = tmp_path / "old"
    shutil.copytree(run_dir, old)
    record = json.loads((old / "run.json").read_text())
    for entry in record["history"]:
        del entry["agreement"], entry["confusion"]
    (old / "run.json").write_text(json.dumps(record))
    invoke("report", old, "--quiet")
    page = (old / "report.html").read_text(encoding="utf-8")
    assert "plot-accuracy" in page
    assert "plot-confusion" not in page
