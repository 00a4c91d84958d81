"""The command as a person or a script meets it. One run in a process of its own serves all tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from typer.testing import CliRunner

from fedkd.cli.main import app
from fedkd.config.experiment import load_config
from fedkd.data.federated import FederatedData, load_federated_data

CONFIG = """
[run]
rounds = 2
name = "first"
[data]
train_size = 300
test_size = 150
[data.public]
size = 150
[data.partition]
kind = "iid"
[clients]
number = 3
models = ["mlp"]
[training]
epochs = 4
learning_rate = 0.1
[student]
model = "mlp"
epochs = 20
learning_rate = 0.005
"""
COLOUR_SWITCHES = {"FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE"}
"""What makes rich or typer take a pipe for a terminal."""

StartProcess = Callable[..., "subprocess.Popen[str]"]
Invoke = Callable[..., str]


@pytest.fixture(scope="session")
def start_process(folder: Path) -> StartProcess:
    """Start the command in a process of its own, in `folder`; both its outputs are pipes."""
    environment = {key: value for key, value in os.environ.items() if key not in COLOUR_SWITCHES}
    # An interrupt is ignored by what a shell started in the background, and by its children; here it never is.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    program += "from fedkd.cli.main import main; main()"

    def start(*arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            cwd=folder,
            env=environment | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )

    return start


@pytest.fixture
def invoke() -> Invoke:
    """Run a command in this process; returns its standard output without colours."""

    def run(*arguments: str | Path) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.stderr
        return click.unstyle(result.stdout)

    return run


@pytest.fixture
def refuse() -> Invoke:
    """Run a command that is refused; returns the one line that says why."""

    def run(*arguments: str | Path, exit_code: int = 2) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        line = click.unstyle(result.stderr)
        assert (result.exit_code, result.stdout) == (exit_code, ""), line
        assert line.startswith("error: ")
        assert line.count("\n") == 1
        assert line.endswith("\n")
        assert "Traceback" not in line
        return line

    return run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an experiment in it."""
    path = tmp_path_factory.mktemp("work")
    (path / "experiment.toml").write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def finished(start_process: StartProcess) -> subprocess.CompletedProcess[str]:
    """`fedkd simulate experiment.toml --json --quiet`, come to its end."""
    with start_process("simulate", "experiment.toml", "--json", "--quiet") as process:
        stdout, stderr = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


@pytest.fixture(scope="session")
def run_dir(finished: subprocess.CompletedProcess[str], folder: Path) -> Path:
    """The run folder that the process left."""
    return folder / str(json.loads(finished.stdout)["run_dir"])


@pytest.fixture(scope="session")
def federated_data(folder: Path) -> FederatedData:
    """The data of the experiment, divided as in the run."""
    return load_federated_data(load_config(folder / "experiment.toml").data, num_clients=3, seed=0)
