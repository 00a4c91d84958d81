"""Small experiments on real digits, and grids whose clients misbehave."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from flwr.app import Message

from fedkd.config import ExperimentConfig, parse_config
from fedkd.federation.bundle import EXPERIMENT_KEY
from fedkd.federation.client_app import app as client_app
from fedkd.federation.engines import LocalGrid
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.federation.simulation import run_apps

Tamper = Callable[[int, Message], Message | None]
"""(client, its reply) -> what the server gets instead; `None` for nothing."""


def deep_update(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merge nested dictionaries."""
    return values | {
        key: deep_update(values.get(key, {}), change) if isinstance(change, dict) else change
        for key, change in changes.items()
    }


@pytest.fixture
def small_config() -> Callable[..., ExperimentConfig]:
    """A federation on digits that takes a second or two; sections can be changed."""

    def make(**sections: Any) -> ExperimentConfig:
        values: dict[str, Any] = {
            "run": {"rounds": 2, "bounds": False},
            "data": {"train_size": 200, "test_size": 100, "public": {"size": 60}, "partition": {"min_size": 5}},
            "clients": {"number": 4, "models": ["mlp"]},
            "training": {"epochs": 1, "learning_rate": 0.05},
            "student": {"model": "mlp", "epochs": 2},
        }
        return parse_config(deep_update(values, sections))

    return make


class TamperingGrid(LocalGrid):
    """A local grid on whose way replies are changed."""

    def __init__(self, config: ExperimentConfig, tamper: Tamper, message_type: str) -> None:
        super().__init__(client_app, config.clients.number, {EXPERIMENT_KEY: config.model_dump_json()})
        self._tamper, self._message_type = tamper, message_type

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        for reply in super().send_and_receive(messages, timeout=timeout):
            if reply.metadata.message_type != self._message_type:
                yield reply
                continue
            tampered = self._tamper(reply.metadata.src_node_id - 1, reply)
            if tampered is not None:
                yield tampered


@pytest.fixture
def run_tampered() -> Callable[..., FederationResult]:
    """Run a federation whose replies of one message type are changed on their way."""

    def run(config: ExperimentConfig, tamper: Tamper, message_type: str = "train") -> FederationResult:
        return run_apps(TamperingGrid(config, tamper, message_type), config, Observer())

    return run
