from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fedkd.data.federated import FederatedData


def test_data_shows_sizes_digest_and_partition(
    folder: Path, federated_data: FederatedData, invoke: Callable[..., str]
) -> None:
    lines = invoke("data", folder / "experiment.toml").splitlines()
    assert lines[:4] == [
        "source digits: images 1x8x8, 10 classes (0, 1, 2, 3, 4, 5, 6, 7, 8, 9)",
        "private: 300 samples over 3 clients",
        f"public: 150 samples, digest {federated_data.public_digest}",
        "test: 150 samples",
    ]
    clients = [line for line in lines if line.startswith("client ")]
    counts_KC = [[int(count) for count in line.split(":")[1].split("(")[0].split()] for line in clients]
    expected_KC = [np.bincount(federated_data.client(client).labels_N, minlength=10) for client in range(3)]
    np.testing.assert_array_equal(counts_KC, expected_KC)


def test_data_obeys_overrides(folder: Path, invoke: Callable[..., str]) -> None:
    output = invoke("data", folder / "experiment.toml", "--set", "clients.number=7", "--set", "data.train_size=140")
    assert "private: 140 samples over 7 clients" in output
    assert "client   6: " in output


def test_data_draws_the_partition(folder: Path, tmp_path: Path, invoke: Callable[..., str]) -> None:
    plot = tmp_path / "partition.svg"
    invoke("data", folder / "experiment.toml", "--plot", plot)
    assert ET.fromstring(plot.read_text(encoding="utf-8")).tag.endswith("svg")  # noqa: S314  # our own file


def test_a_plot_that_cannot_be_written_is_refused(folder: Path, tmp_path: Path, refuse: Callable[..., str]) -> None:
    plot = tmp_path / "absent" / "partition.svg"
    assert f"cannot write {plot}" in refuse("data", folder / "experiment.toml", "--plot", plot)


def test_data_lists_what_there_is_to_choose_from(invoke: Callable[..., str]) -> None:
    lines = dict(line.split(": ", 1) for line in invoke("data").splitlines())
    assert set(lines) == {"sources", "partitions", "models", "methods"}
    for key, word in {"sources": "digits", "partitions": "dirichlet", "models": "cnn", "methods": "fedmd"}.items():
        assert word in lines[key].split("; ")[0].split(", ")


def test_what_only_an_experiment_can_use_is_refused_without_one(tmp_path: Path, refuse: Callable[..., str]) -> None:
    assert "CONFIG" in refuse("data", "--plot", tmp_path / "partition.svg")
    assert "CONFIG" in refuse("data", "--set", "run.seed=1")
