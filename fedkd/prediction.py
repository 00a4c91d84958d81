"""Using the student that a run left behind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from fedkd.aggregation.base import log_softmax
from fedkd.data.inputs import to_model_input
from fedkd.data.prediction_images import load_images
from fedkd.data.prediction_texts import load_texts
from fedkd.data.vocabulary import Vocabulary
from fedkd.errors import RunFolderError
from fedkd.models.registry import build_model
from fedkd.offline import RecordedConfig, parse_recorded
from fedkd.reporting import RunStore
from fedkd.training.evaluation import predict_logits
from fedkd.types import ByteArray, SampleShape, TextShape, TokenArray


class Prediction(NamedTuple):
    """One sample: its name, the most probable class and its probability under the student."""

    name: str
    class_name: str
    probability: float


def predict(run_dir: Path | str, samples: Path | str) -> list[Prediction]:
    """Classify images or texts with a run's student.

    Args:
        run_dir: a finished run's folder.
        samples: an image file, a folder of images, or an `.npz` of arrays, adapted to the student's input; where the
            student takes texts, a `.txt` file, a folder of them, or a `.jsonl` file, in the run's vocabulary.

    Raises:
        RunFolderError: the run is not finished, its method has no student, or the student does not fit the rest.
        DataError: the samples cannot be read.
    """
    store, config = _with_student(Path(run_dir))
    names, inputs = _load(store, Path(samples), _input_shape(store))
    class_names, model = _class_names(store, config), _student(store, config)
    probs_NC = np.exp(log_softmax(predict_logits(model, torch.from_numpy(to_model_input(inputs)))))
    return [
        Prediction(name, class_names[best], float(probs[best]))
        for name, probs, best in zip(names, probs_NC, probs_NC.argmax(axis=1), strict=True)
    ]


def load_student(run_dir: Path | str) -> nn.Module:
    """Return the student of a finished run, in evaluation mode on the CPU.

    It takes images, float32 [N, C, H, W] from -1 (black) to 1 (white), or tokens of the run's vocabulary, int64 [N, L],
    and returns logits [N, classes].

    Raises:
        RunFolderError: the run is not finished, its method has no student, or the student does not fit the rest.
    """
    return _student(*_with_student(Path(run_dir))).eval()


def _with_student(path: Path) -> tuple[RunStore, RecordedConfig]:
    store = RunStore.open(path)
    record = store.read_run()
    if not store.student_path.is_file():
        raise RunFolderError(f"{store.path} has no student: method {record.method} leaves none")
    return store, parse_recorded(store.read_config())


def _class_names(store: RunStore, config: RecordedConfig) -> Sequence[str]:
    return config.data.classes or store.read_partition().class_names


def _load(store: RunStore, path: Path, input_shape: SampleShape) -> tuple[list[str], ByteArray | TokenArray]:
    if not isinstance(input_shape, TextShape):
        return load_images(path, input_shape)
    names, texts = load_texts(path)
    return names, Vocabulary(store.read_vocabulary()).encode(texts, input_shape.length)


def _input_shape(store: RunStore) -> SampleShape:
    """Of an image CxHxW, of a text its tokens and the size of the vocabulary, LxV."""
    text = store.read_student_metadata().get("input_shape", "")
    sizes, form = text.split("x"), "LxV" if store.vocabulary_path.is_file() else "CxHxW"
    if len(sizes) != len(form.split("x")) or not all(size.isdecimal() for size in sizes):
        raise RunFolderError(f"{store.student_path} does not say its input_shape as {form}: {text!r}")
    if form == "LxV":
        return TextShape(*map(int, sizes))
    channels, height, width = (int(size) for size in sizes)
    return channels, height, width


def _student(store: RunStore, config: RecordedConfig) -> nn.Module:
    name = config.student.model
    model = build_model(name, _input_shape(store), len(_class_names(store, config)), seed=0)
    try:
        model.load_state_dict({key: torch.from_numpy(array) for key, array in store.read_student().items()})
    except RuntimeError as cause:
        raise RunFolderError(
            f"{store.student_path} does not fit student.model = {name!r} of its configuration"
        ) from cause
    return model
