"""One thing wrong at a time: exit code 2, one line that names it, no traceback, and no run folder left behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedkd import experiment
from fedkd.cli.main import app
from fedkd.errors import RoundError

BAD_VALUES: dict[str, tuple[list[str], list[str]]] = {
    "an unknown key": (["run.sead=1"], ["run.sead = 1", "did you mean 'seed'?"]),
    "an unknown section": (["rum.seed=1"], ["rum = {'seed': 1}", "did you mean 'run'?"]),
    "no skew at all": (["data.partition.dirichlet_alpha=0"], ["data.partition.dirichlet_alpha = 0", "greater than 0"]),
    "a skew that is no number": (["data.partition.dirichlet_alpha=nan"], ["dirichlet_alpha = nan", "finite"]),
    "a negative size": (["data.public.size=-5"], ["data.public.size = -5", "greater than or equal to 1"]),
    "more clients than samples": (
        ["clients.number=301", "data.partition.min_size=1"],
        ["num_clients = 301", "301 samples; there are 300"],
    ),
    "a public set larger than the data": (["data.public.size=5000"], ["data.public.size = 5000", "at most 1644"]),
    "a test split larger than the data": (["data.test_size=5000"], ["data.test_size = 5000", "at most 1796"]),
    "a hard loss without labels": (
        ["student.objective.alpha=0.5"],
        ["student.objective.alpha = 0.5", "data.public.labelled = true"],
    ),
    "more clients a round than there are": (["clients.min_train_nodes=9"], ["clients.min_train_nodes = 9", "is 3"]),
    "masked weights": (
        ["secure_aggregation.enabled=true", "method.name=feddf", "student.model=mlp", "clients.models=['mlp']"],
        ["secure_aggregation.enabled = True", "weights travel"],
    ),
    "an unknown method": (["method.name=fedm"], ["method.name = 'fedm'", "did you mean 'fedmd'?"]),
    "an unknown aggregator": (["method.aggregator=median"], ["'median'", "did you mean 'median_logits'?"]),
    "an unknown model": (["student.model=cnm"], ["student.model = 'cnm'", "did you mean 'cnn'?"]),
    "an unknown source": (["data.source=minst"], ["data.source = 'minst'", "did you mean 'mnist'?"]),
    "a device that is not there": (["run.device=cuda:99"], ["run.device = 'cuda:99'", "on this machine"]),
    "an override of another form": (["run.seed"], ["--set = 'run.seed'", "section.key=value"]),
    "a folder as a name": (["run.name=a/b"], ["run.name = 'a/b'", "single folder name"]),
}


def _settings(*changes: str) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_bad_value_is_refused(name: str, folder: Path, tmp_path: Path, refuse: Callable[..., str]) -> None:
    changes, fragments = BAD_VALUES[name]
    output = _settings(f"run.output={tmp_path / 'runs'}")
    line = refuse("simulate", folder / "experiment.toml", *output, *_settings(*changes), "--json")
    assert [fragment for fragment in fragments if fragment not in line] == []
    assert not (tmp_path / "runs").exists()


def test_a_data_folder_that_is_missing_is_refused(folder: Path, tmp_path: Path, refuse: Callable[..., str]) -> None:
    changes = _settings("data.source=mnist", f"data.root={tmp_path / 'absent'}", f"run.output={tmp_path / 'runs'}")
    assert str(tmp_path / "absent") in refuse("simulate", folder / "experiment.toml", *changes)
    assert not (tmp_path / "runs").exists()


def test_an_output_that_cannot_be_written_is_refused(folder: Path, tmp_path: Path, refuse: Callable[..., str]) -> None:
    file = tmp_path / "file"
    file.write_text("not a folder")
    line = refuse("simulate", folder / "experiment.toml", *_settings(f"run.output={file / 'runs'}"))
    assert f"cannot make the folder {file / 'runs'}: Not a directory" in line
    assert file.read_text() == "not a folder"


def test_two_runs_never_share_a_folder(folder: Path, run_dir: Path, refuse: Callable[..., str]) -> None:
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    line = refuse("simulate", folder / "experiment.toml", *_settings(f"run.output={run_dir.parent}"))
    assert f"{run_dir} exists already; two runs never share a folder" in line
    assert {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", ["simulate", "data"])
def test_a_file_that_cannot_be_used_is_refused(command: str, tmp_path: Path, refuse: Callable[..., str]) -> None:
    assert "No such file" in refuse(command, tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("[run\n")
    assert "valid TOML" in refuse(command, tmp_path / "broken.toml")


@pytest.mark.parametrize("arguments", [["simulate"], ["simulate", "a.toml", "--jsn"], ["simulat"], []])
def test_a_command_line_that_is_no_command_is_refused(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.output
    assert "Traceback" not in result.output


def test_a_federation_that_fails_exits_with_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, refuse: Callable[..., str]
) -> None:
    def fail(*_: object) -> None:
        raise RoundError("no round had\n1 usable reply")

    monkeypatch.setattr(experiment, "open_workspace", fail)
    assert refuse("simulate", folder / "experiment.toml", exit_code=1) == "error: no round had 1 usable reply\n"


def test_a_defect_is_a_sentence_with_a_way_to_its_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def defect(*_: object) -> None:
        raise ZeroDivisionError("of [bold]1[/bold]\nby 0")

    monkeypatch.setattr(experiment, "open_workspace", defect)
    arguments = ["simulate", str(folder / "experiment.toml"), "--quiet"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert result.stderr == "unexpected error: ZeroDivisionError: of [bold]1[/bold] by 0 (FEDKD_DEBUG=1 shows where)\n"
    monkeypatch.setenv("FEDKD_DEBUG", "1")
    assert isinstance(CliRunner().invoke(app, arguments).exception, ZeroDivisionError)
