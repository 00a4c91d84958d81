"""A cluster of two nodes, both on this machine, that is there before the run and stays after it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

import fedkd
from fedkd.config.experiment import ExperimentConfig
from fedkd.reporting import RunStore

pytestmark = pytest.mark.slow


@pytest.fixture
def two_nodes() -> Iterator[Cluster]:
    """Two nodes of one CPU each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster
    finally:
        cluster.shutdown()


def test_the_same_experiment_on_a_cluster_of_two_nodes(
    two_nodes: Cluster, small_config: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    run = {"output": str(tmp_path), "name": "here", "baselines": False}
    here = Path(fedkd.run(small_config(run=run, student={"model": "mlp", "epochs": 2, "shards": 2})).run_dir)
    command = [
        sys.executable,
        "-c",
        "from fedkd.cli.main import main; main()",
        "simulate",
        str(here / "config.toml"),
        "-q",
    ]
    command += ["--ray-address", two_nodes.address, "--set", "run.name=there", "--set", "ray.workers=2"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    there = tmp_path / "there"
    assert (there / "student.safetensors").read_bytes() == (here / "student.safetensors").read_bytes()
    records = [RunStore.open(folder).read_rounds() for folder in (here, there)]
    for one, other in zip(*records, strict=True):
        assert one.model_copy(update={"seconds": other.seconds}) == other
    assert len(two_nodes.list_all_nodes()) == 2


def test_without_an_address_no_cluster_is_joined(two_nodes: Cluster) -> None:
    session = (
        "import ray; from fedkd.config.experiment import RayConfig; from fedkd.engines.ray_session import ray_session\n"
        "with ray_session(RayConfig(workers=2), at_most=2): print(len(ray.nodes()))"
    )
    environment = os.environ | {"RAY_ADDRESS": two_nodes.address}
    done = subprocess.run([sys.executable, "-c", session], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
