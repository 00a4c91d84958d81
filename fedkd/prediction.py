"""Using the student that a run left behind."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from fedkd.aggregation.base import log_softmax
from fedkd.config import parse_config
from fedkd.data.images import to_float
from fedkd.data.prediction_images import load_images
from fedkd.errors import RunFolderError
from fedkd.models.registry import build_model
from fedkd.reporting import RunStore
from fedkd.training.evaluation import predict_logits


class Prediction(NamedTuple):
    """One image: its name, the most probable class and its probability under the student."""

    name: str
    class_name: str
    probability: float


def predict(run_dir: Path | str, images: Path | str) -> list[Prediction]:
    """Classify images with a run's student.

    Args:
        run_dir: a finished run's folder.
        images: an image file, a folder of images, or an `.npz` of arrays; adapted to the student's input.

    Raises:
        RunFolderError: the run is not finished, or its method has no student.
        DataError: the images cannot be read.
    """
    store = RunStore.open(Path(run_dir))
    record = store.read_run()
    if not store.student_path.is_file():
        raise RunFolderError(f"{store.path} has no student: method {record.method} leaves none")
    config, metadata = parse_config(store.read_config()), store.read_student_metadata()
    class_names = store.read_partition().class_names
    channels, height, width = (int(size) for size in metadata["input_shape"].split("x"))
    names, images_NCHW = load_images(Path(images), (channels, height, width))
    model = build_model(config.student.model, (channels, height, width), len(class_names), seed=0)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in store.read_student().items()})
    probs_NC = np.exp(log_softmax(predict_logits(model, torch.from_numpy(to_float(images_NCHW)))))
    return [
        Prediction(name, class_names[best], float(probs[best]))
        for name, probs, best in zip(names, probs_NC, probs_NC.argmax(axis=1), strict=True)
    ]
