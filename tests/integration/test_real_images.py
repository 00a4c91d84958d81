"""Whole federations on real images: what may safely be asserted of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedkd.config.experiment import load_config, parse_config
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer
from fedkd.federation.references import train_baselines
from fedkd.federation.workspace import open_workspace

SIMULATIONS = Path(__file__).parents[2] / "simulations"


def test_distillation_pays_on_digits() -> None:
    """The default experiment: at least ten points above clients that never communicate, and below all data at once."""
    config = load_config(SIMULATIONS / "digits.toml")
    student = simulate(config, Observer()).history[-1].student
    baselines = train_baselines(config, open_workspace(config), lambda *_: None)
    assert baselines.local_only is not None
    assert baselines.centralised is not None
    assert student.accuracy is not None
    assert baselines.local_only + 0.10 <= student.accuracy < baselines.centralised


def write_npz(path: Path, images_NHW: np.ndarray, labels_N: np.ndarray, num_test: int) -> Path:
    np.savez(
        path,
        x_train=images_NHW[num_test:],
        y_train=labels_N[num_test:],
        x_test=images_NHW[:num_test],
        y_test=labels_N[:num_test],
    )
    return path


def test_a_public_set_of_another_domain_and_size_lifts_clients_above_local_only(
    tmp_path: Path, data_root: Path
) -> None:
    """Private digits of 8×8 pixels from one archive, public MNIST of 28×28 from another, `fedmd`."""
    from sklearn.datasets import load_digits
    from torchvision.datasets import MNIST

    digits, mnist = load_digits(), MNIST(data_root, train=False, download=False)
    order = np.random.default_rng(0).permutation(len(digits.target))
    private = write_npz(
        tmp_path / "private.npz", (digits.images[order] * 15.9375).astype(np.uint8), digits.target[order], 360
    )
    public = write_npz(tmp_path / "public.npz", mnist.data.numpy()[:1500], mnist.targets.numpy()[:1500], 100)
    config = parse_config(
        {
            "run": {"rounds": 10, "evaluate_clients_every": 10},
            "data": {
                "source": "npz",
                "root": str(private),
                "public": {"source": "npz", "root": str(public), "size": 600},
            },
            "clients": {"number": 5, "models": ["mlp", "lenet5"]},
            "training": {"epochs": 2, "learning_rate": 0.05, "logit_adjustment": True},
            "method": {
                "name": "fedmd",
                "local_distillation": {"epochs": 5, "batch_size": 64, "objective": {"loss": "kl"}},
            },
            "student": {"model": "mlp"},
        }
    )
    clients = simulate(config, Observer()).history[-1].clients
    baselines = train_baselines(config, open_workspace(config), lambda *_: None)
    assert clients.mean_accuracy is not None
    assert baselines.local_only is not None
    assert clients.mean_accuracy > baselines.local_only + 0.03


@pytest.mark.parametrize("method", ["fkd", "fedavg"])
def test_mnist_federations_learn(data_root: Path, method: str) -> None:
    """A small MNIST federation: the student is far above the mean local model, and within three points of its
    teacher where it has one.
    """
    config = load_config(
        SIMULATIONS / "mnist.toml",
        [
            f"data.root={data_root}",
            f"method.name={method}",
            "data.train_size=2000",
            "data.test_size=1000",
            "data.public.size=1000",
            "data.partition.dirichlet_alpha=1.0",
            "run.rounds=3",
            "run.evaluate_clients_every=3",
            "training.learning_rate=0.05",
            "clients.number=5",
        ],
    )
    last = simulate(config, Observer()).history[-1]
    assert last.student.accuracy is not None
    assert last.clients.mean_accuracy is not None
    assert last.student.accuracy > last.clients.mean_accuracy + 0.05
    if method == "fkd":
        assert last.ensemble_teacher.accuracy is not None
        assert last.student.accuracy > last.ensemble_teacher.accuracy - 0.03
