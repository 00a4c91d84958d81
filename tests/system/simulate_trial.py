"""Simulate, inside the image, the experiment that a trial deploys; prints the final accuracy and student as JSON.

    python simulate_trial.py DATA OVERRIDE...      DATA is what `fedkd data --export` wrote

The image has the PyTorch that the containers run, whose kernels may differ in their bits from those of another release.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from fedkd.config.experiment import ExperimentConfig, apply_override, load_config, parse_config
from fedkd.data.federated import FederatedData
from fedkd.data.images import LabelledImages, public_digest
from fedkd.data.site_files import read_labelled, read_public
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer
from fedkd.federation.workspace import provide_data


def read_data(folder: Path, config: ExperimentConfig) -> FederatedData:
    """What the sites and the server hold, in one place."""
    private = [
        read_labelled(folder / f"client-{client}" / "private", None).under(config.data.classes)
        for client in range(config.clients.number)
    ]
    ends = np.cumsum([len(each.labels_N) for each in private])
    public_NCHW, _ = read_public(folder / "server" / "public", None)
    return FederatedData(
        train=LabelledImages(
            np.concatenate([each.images_NCHW for each in private]), np.concatenate([each.labels_N for each in private])
        ),
        partitions=tuple(np.arange(end - len(each.labels_N), end) for each, end in zip(private, ends, strict=True)),
        public_inputs=public_NCHW,
        public_labels_N=None,
        public_digest=public_digest(public_NCHW),
        test=read_labelled(folder / "server" / "test", None).under(config.data.classes),
        num_classes=len(config.data.classes),
        class_names=config.data.classes,
        input_shape=public_NCHW.shape[1:],
        partition_record=None,
        heterogeneity=config.data.heterogeneity,
        seed=config.run.seed,
    )


def main(folder: Path, overrides: list[str]) -> None:
    """Simulate."""
    values = load_config(folder / "experiment.toml").model_dump(mode="json")
    for override in overrides:
        apply_override(values, override)
    config = parse_config(values)
    provide_data(config, read_data(folder, config))
    result = simulate(config, Observer())
    digest = hashlib.sha256()
    for name in sorted(result.student):
        digest.update(result.student[name].tobytes())
    print(json.dumps({"accuracy": result.history[-1].student.accuracy, "student": digest.hexdigest()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
