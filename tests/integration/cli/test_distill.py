"""`fedkd distill`: a run folder that the other commands read, the same bits for a seed, and refusals in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from fedkd.data.federated import load_federated_data
from fedkd.data.images import to_float
from fedkd.models.registry import build_model
from fedkd.offline import load_offline_config
from fedkd.reporting import RunStore
from fedkd.run_reports import read_run
from fedkd.training.evaluation import predict_logits, score

CONFIG = """
[run]
name = "taught"
[data]
train_size = 500
test_size = 200
[data.public]
size = 300
[teacher]
model = "mlp"
epochs = 10
learning_rate = 0.1
[student]
model = "mlp"
epochs = 15
learning_rate = 0.005
[student.objective]
temperature = 4.0
[[terms]]
loss = "hint"
student = ["features"]
teacher = ["features"]
weight = 0.01
[[terms]]
loss = "geometry"
student = ["features", "classifier"]
teacher = ["features", "classifier"]
"""


@pytest.fixture(scope="module")
def config_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("offline") / "distill.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def taught(config_path: Path) -> RunStore:
    """The run folder of one distillation."""
    from typer.testing import CliRunner

    from fedkd.cli.main import app

    where = f"run.output={config_path.parent / 'runs'}"
    result = CliRunner().invoke(app, ["distill", str(config_path), "--set", where, "--json"])
    assert result.exit_code == 0, result.stderr
    return RunStore.open(Path(json.loads(result.stdout)["run_dir"]))


def test_the_student_of_the_folder_has_the_recorded_scores(taught: RunStore, config_path: Path) -> None:
    record = read_run(taught.path)
    config = load_offline_config(config_path)
    data = load_federated_data(config.data, 1, config.run.seed)
    student = build_model("mlp", data.input_shape, data.num_classes, seed=9)
    student.load_state_dict({key: torch.from_numpy(array) for key, array in taught.read_student().items()})
    found = score(predict_logits(student, torch.from_numpy(to_float(data.test.images_NCHW))), data.test.labels_N)
    assert found.accuracy == record.student.accuracy
    assert record.student.accuracy > 0.7
    assert record.ensemble_teacher.accuracy > 0.85
    assert record.history[0].agreement > 0.7
    assert record.history[0].distillation.epochs == 15
    assert record.history[0].distillation.last_loss < 0.5 * record.history[0].distillation.first_loss


def test_the_other_commands_read_the_folder(taught: RunStore, invoke, tmp_path: Path) -> None:
    assert "distill, seed 0, 1 round" in invoke("report", taught.path, "--output", tmp_path / "again.html")
    page = (tmp_path / "again.html").read_text(encoding="utf-8")
    assert "fedkd distill" in page
    assert "teacher.learning_rate" in page
    assert "round 1" in invoke("watch", taught.path)


def test_the_seed_decides_the_bits_and_a_trained_teacher_can_be_given(
    taught: RunStore, config_path: Path, invoke, tmp_path: Path
) -> None:
    again = ["distill", config_path, "--quiet", "--set", f"run.output={tmp_path}"]
    invoke(*again)
    first, second = taught.student_path.read_bytes(), (tmp_path / "taught" / "student.safetensors").read_bytes()
    assert first == second
    invoke(*again, "--set", "run.name=pupil", "--set", f'teacher.weights="{taught.student_path}"')
    pupil = read_run(tmp_path / "pupil")
    assert pupil.ensemble_teacher.accuracy == read_run(taught.path).student.accuracy
    assert pupil.history[0].train_loss is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("student.objective.alpha=0.5", "student.objective.alpha = 0.5 is not allowed"),
        ("teacher.model=cmn", "teacher.model = 'cmn' is not allowed"),
        ("teacher.model=cnn", "no module 'feature'"),
        ("teacher.weights=missing.safetensors", "missing.safetensors"),
        ("student.model=resnet8", "no module 'features'"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_folder_is_made(
    override: str, message: str, config_path: Path, refuse, tmp_path: Path
) -> None:
    text = CONFIG.replace('teacher = ["features"]', 'teacher = ["feature"]') if "cnn" in override else CONFIG
    path = tmp_path / "refused.toml"
    path.write_text(text, encoding="utf-8")
    assert message in refuse("distill", path, "--set", override, "--set", f"run.output={tmp_path / 'runs'}")
    assert not (tmp_path / "runs").exists()


def test_weights_of_another_model_are_refused(taught: RunStore, config_path: Path, refuse, tmp_path: Path) -> None:
    weights = ("--set", f'teacher.weights="{taught.student_path}"', "--set", f"run.output={tmp_path}")
    assert "does not fit teacher.model = 'cnn'" in refuse(
        "distill", config_path, "--set", "teacher.model=cnn", *weights
    )
