from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fedkd
from fedkd.data.federated import FederatedData
from fedkd.reporting import RunStore


def test_predictions_are_as_accurate_as_the_record_says(
    run_dir: Path, federated_data: FederatedData, tmp_path: Path, invoke: Callable[..., str]
) -> None:
    test = federated_data.test
    for number, image_HW in enumerate(test.images_NCHW[:, 0]):
        Image.fromarray(image_HW).save(tmp_path / f"{number:03}.png")
    predictions = json.loads(invoke("predict", run_dir, tmp_path, "--json"))
    assert [entry["name"] for entry in predictions] == [f"{number:03}.png" for number in range(150)]
    correct = [int(entry["class_name"]) == label for entry, label in zip(predictions, test.labels_N, strict=True)]
    accuracy = json.loads((run_dir / "run.json").read_text())["student"]["accuracy"]
    assert accuracy > 0.5
    assert np.mean(correct) == pytest.approx(accuracy)
    assert all(1 / 10 <= entry["probability"] <= 1 for entry in predictions)


def test_a_loaded_student_is_as_accurate_as_the_record_says(run_dir: Path, federated_data: FederatedData) -> None:
    """Its inputs are those that the docstring describes, made here by hand."""
    test, student = federated_data.test, fedkd.load_student(run_dir)
    inputs = torch.from_numpy(test.images_NCHW.astype(np.float32) / 127.5 - 1)
    with torch.no_grad():
        chosen = student(inputs).argmax(dim=1).numpy()
    assert not student.training
    assert np.mean(chosen == test.labels_N) == pytest.approx(fedkd.read_run(run_dir).student.accuracy)


def test_an_image_is_predicted_alike_wherever_it_lies(
    run_dir: Path, federated_data: FederatedData, tmp_path: Path, invoke: Callable[..., str]
) -> None:
    images_NHW = federated_data.test.images_NCHW[:5, 0]
    np.savez(tmp_path / "five.npz", images=images_NHW)
    Image.fromarray(images_NHW[3]).save(tmp_path / "one.png")
    lines = [line.split("\t") for line in invoke("predict", run_dir, tmp_path / "five.npz").splitlines()]
    assert [name for name, *_ in lines] == [f"images[{row}]" for row in range(5)]
    assert invoke("predict", run_dir, tmp_path / "one.png").rstrip("\n").split("\t") == ["one.png", *lines[3][1:]]
    assert fedkd.predict(run_dir, tmp_path / "one.png")[0].class_name == lines[3][1]


def test_a_photograph_is_fitted_to_the_student(run_dir: Path, tmp_path: Path, invoke: Callable[..., str]) -> None:
    """Colour, another size and another format: five times as large, a four is still a four."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    lines = {}
    for factor, mode in ((1, "L"), (5, "RGB")):
        grey = Image.fromarray(np.rint(digits.images[4] * 255 / 16).astype(np.uint8))
        large = grey.resize((8 * factor, 8 * factor), Image.Resampling.NEAREST).convert(mode)
        large.save(tmp_path / f"{factor}.png")
        lines[factor] = invoke("predict", run_dir, tmp_path / f"{factor}.png").split("\t")
    assert lines[5][1] == lines[1][1]


def test_a_run_without_a_student_has_none_to_load(run_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    (copy / "student.safetensors").unlink()
    with pytest.raises(fedkd.RunFolderError, match="has no student: method fkd leaves none"):
        fedkd.load_student(str(copy))


def test_images_that_cannot_be_read_are_refused(run_dir: Path, tmp_path: Path, refuse: Callable[..., str]) -> None:
    assert "does not exist" in refuse("predict", run_dir, tmp_path / "absent.png")
    assert "holds no images" in refuse("predict", run_dir, tmp_path)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    assert "broken.png' cannot be read" in refuse("predict", run_dir, tmp_path)
    np.savez(tmp_path / "other.npz", labels=np.zeros(3))
    assert "allowed: images or x_test" in refuse("predict", run_dir, tmp_path / "other.npz")


def test_an_unfinished_run_predicts_nothing(run_dir: Path, tmp_path: Path, refuse: Callable[..., str]) -> None:
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run_dir, unfinished)
    (unfinished / "run.json").unlink()
    assert "still going or was stopped; rounds: 2" in refuse("predict", unfinished, tmp_path)


@pytest.fixture
def copied_run(run_dir: Path, tmp_path: Path) -> Path:
    """A copy of the run to damage."""
    return Path(shutil.copytree(run_dir, tmp_path / "copied"))


@pytest.fixture
def black(tmp_path: Path) -> Path:
    """A black image."""
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "black.png")
    return tmp_path / "black.png"


def test_a_torn_student_is_refused(copied_run: Path, black: Path, refuse: Callable[..., str]) -> None:
    student = copied_run / "student.safetensors"
    whole = student.read_bytes()
    student.write_bytes(whole[: len(whole) // 2])
    assert str(student) in refuse("predict", copied_run, black)


def test_a_student_of_another_model_is_refused(copied_run: Path, black: Path, refuse: Callable[..., str]) -> None:
    config = (copied_run / "config.toml").read_text(encoding="utf-8")
    assert config.count('model = "mlp"') == 1
    (copied_run / "config.toml").write_text(config.replace('model = "mlp"', 'model = "cnn"'), encoding="utf-8")
    line = refuse("predict", copied_run, black)
    assert f"{copied_run / 'student.safetensors'} does not fit student.model = 'cnn'" in line


@pytest.mark.parametrize("metadata", [{}, {"input_shape": "1x8"}, {"input_shape": "1x8xlarge"}])
def test_a_student_without_its_input_shape_is_refused(
    metadata: dict[str, str], copied_run: Path, black: Path, refuse: Callable[..., str]
) -> None:
    store = RunStore.open(copied_run)
    store.write_student(store.read_student(), metadata)
    assert "does not say its input_shape" in refuse("predict", copied_run, black)
