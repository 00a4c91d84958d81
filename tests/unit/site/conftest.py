"""Sites in this process: every message is packed, and goes to the handler of a site and not to the client app."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedkd.config.experiment import ExperimentConfig, load_config, parse_config
from fedkd.engines import LocalGrid
from fedkd.engines.simulation import run_apps
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.flower.app_bundle import EXPERIMENT_KEY, bundle
from fedkd.flower.packing import pack_message, unpack_message
from fedkd.site.audit import AuditLog
from fedkd.site.export import export
from fedkd.site.handler import MessageHandler
from fedkd.site.local_data import read_local_data
from fedkd.site.settings import SiteConfig
from fedkd.site.state import SiteState

CLIENTS = 3


@pytest.fixture
def simulated() -> ExperimentConfig:
    """An experiment on digits that takes a second."""
    return parse_config(
        {
            "run": {"rounds": 2, "baselines": False},
            "data": {"train_size": 90, "test_size": 30, "public": {"size": 20}, "partition": {"min_size": 2}},
            "clients": {"number": CLIENTS, "models": ["mlp"], "min_train_nodes": 1},
            "training": {"epochs": 1},
            "student": {"model": "mlp", "epochs": 1},
        }
    )


@pytest.fixture
def trial(simulated: ExperimentConfig, tmp_path: Path) -> Path:
    """Its data as sites would hold them."""
    return export(simulated, tmp_path / "trial").parent


@pytest.fixture
def deployed(trial: Path) -> ExperimentConfig:
    """The experiment over these sites."""
    return load_config(trial / "experiment.toml")


@pytest.fixture
def make_site(trial: Path) -> Callable[..., SiteConfig]:
    """Settings of one client of the trial."""

    def make(client: int = 0, **changes: Any) -> SiteConfig:
        folder = trial / f"client-{client}"
        values: dict[str, Any] = {"client": client, "num_clients": CLIENTS, "superlink": "127.0.0.1:9092"}
        values |= {"insecure": True, "state": str(folder / "state")}
        values |= {"private": str(folder / "private"), "public": str(folder / "public")}
        return SiteConfig.model_validate(values | changes)

    return make


@pytest.fixture
def make_handler() -> Callable[[SiteConfig], MessageHandler]:
    """Makes the message handler of a site, over the state that the site left last time."""

    def make(site: SiteConfig) -> MessageHandler:
        state = SiteState(site.state_path)
        return MessageHandler(site, read_local_data(site), state, AuditLog(state.folder / "audit.jsonl"))

    return make


class SiteGrid(LocalGrid):
    """A local grid whose clients sit at sites."""

    def __init__(self, config: ExperimentConfig, handlers: list[MessageHandler], sent: bytes) -> None:
        def at_site(message: Message, context: Context) -> Message:
            handler = handlers[int(context.node_config["partition-id"])]
            reply = handler.answer(pack_message(message), context, sent)
            if reply.has_content() and reply.content.array_records:
                raise AssertionError("arrays left a site unpacked")
            return unpack_message(reply)

        run_config = {EXPERIMENT_KEY: config.model_dump_json()}
        super().__init__(cast(ClientApp, at_site), config.clients.number, run_config)


@pytest.fixture
def federate() -> Callable[..., FederationResult]:
    """Run an experiment over handlers, with every message packed."""

    def run(config: ExperimentConfig, handlers: list[MessageHandler], sent: bytes | None = None) -> FederationResult:
        return run_apps(SiteGrid(config, handlers, bundle() if sent is None else sent), config, Observer())

    return run
