"""The same apps under Flower's own runtimes give the same bits, and leave nothing running."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from fedkd.config.experiment import ExperimentConfig
from fedkd.engines import flower, process_guard
from fedkd.engines.flower import answers, guarded, runtime_environment
from fedkd.engines.simulation import simulate
from fedkd.errors import RoundError
from fedkd.federation.answers import RoundArrays
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.flower.ports import free_port
from fedkd.records import RoundRecord

PROJECT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow

MakeConfig = Callable[..., ExperimentConfig]


class Rounds(Observer):
    """Keeps what it hears of rounds."""

    def __init__(self) -> None:
        self.records: list[RoundRecord] = []
        self.teachers: list[bytes] = []

    def on_arrays(self, server_round: int, arrays: RoundArrays) -> None:
        assert server_round == len(self.teachers) + 1
        assert arrays.teacher is not None
        self.teachers.append(arrays.teacher.values_ND.tobytes())

    def on_round(self, record: RoundRecord) -> None:
        self.records.append(record)


def bits(result: FederationResult) -> dict[str, bytes]:
    assert result.student is not None
    return {name: array.tobytes() for name, array in result.student.items()}


def without_times(records: tuple[RoundRecord, ...]) -> list[str]:
    return [record.model_dump_json(exclude={"seconds"}) for record in records]


@pytest.fixture(autouse=True)
def _nothing_is_left_running() -> Iterator[None]:
    before = set(process_guard.descendants(os.getpid()))
    yield
    assert set(process_guard.descendants(os.getpid())) == before


def test_flowers_simulation_gives_the_bits_of_the_local_engine(small_config: MakeConfig) -> None:
    clients = {"number": 3, "models": ["mlp", "cnn"]}
    heard_here, heard = Rounds(), Rounds()
    local = simulate(small_config(clients=clients), heard_here)
    flowers = simulate(small_config(clients=clients, run={"engine": "flower"}), heard)
    assert bits(flowers) == bits(local)
    assert without_times(flowers.history) == without_times(local.history)
    assert heard.records == list(flowers.history)
    assert len(heard.teachers) == len(heard.records)
    assert heard.teachers == heard_here.teachers


def test_an_error_of_the_server_app_is_raised_here(small_config: MakeConfig) -> None:
    clients = {"number": 2, "dropout_rate": 0.99}
    with pytest.raises(RoundError, match=r"no round had 1 usable replies: in round 1, 2 dropped out"):
        simulate(small_config(clients=clients, run={"engine": "flower", "rounds": 1}), Observer())


def test_a_superlink_that_does_not_start_is_named(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(flower, "free_port", lambda: taken.getsockname()[1])
        with pytest.raises(RoundError, match=r"flower-superlink does not answer.*address already in use"):
            simulate(small_config(run={"engine": "flower"}), Observer())


def test_two_supernodes_give_the_bits_of_the_local_engine(small_config: MakeConfig, tmp_path: Path) -> None:
    changes = {"name": "deployed", "rounds": 1, "output": str(tmp_path)}
    config = small_config(clients={"number": 2, "models": ["mlp", "cnn"]}, run=changes)
    local = simulate(config, Observer())

    environment = runtime_environment(tmp_path)
    port, *node_ports = (free_port() for _ in range(3))
    address = f"127.0.0.1:{port}"
    (tmp_path / "config.toml").write_text(f'[superlink.loopback]\naddress = "{address}"\ninsecure = true\n')
    (tmp_path / "run.toml").write_text(f"experiment = {json.dumps(config.model_dump_json())}\n")
    with ExitStack() as running:

        def start(name: str, *command: str) -> subprocess.Popen[bytes]:
            (tmp_path / name).mkdir()
            return running.enter_context(guarded(tmp_path / name, [*command], environment))

        link = start("link", "flower-superlink", "--insecure", "--host", "127.0.0.1", "--port", str(port))
        assert answers(port, link)
        for client, node_port in enumerate(node_ports):
            who = f"partition-id={client} num-partitions=2"
            command = ["flower-supernode", "--insecure", "--superlink", address, "--node-config", who]
            start(f"node-{client}", *command, "--port", str(node_port))
        command = ["flwr", "run", str(PROJECT), "loopback", "--run-config", str(tmp_path / "run.toml"), "--stream"]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=400)
    assert "2 clients take part" in run.stdout
    student = load_file(tmp_path / "deployed" / "student.safetensors")
    assert {name: array.tobytes() for name, array in student.items()} == bits(local)
