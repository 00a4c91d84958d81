"""Sites in this process: every message goes in a parcel through a site's desk instead of straight to the client app."""

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
from fedkd.flower.packing import opened, parcelled
from fedkd.site.audit import AuditLog
from fedkd.site.export import export
from fedkd.site.handler import Desk
from fedkd.site.local_data import read_holdings
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
def open_desk() -> Callable[[SiteConfig], Desk]:
    """A site's desk, over the state that it left last time."""

    def make(site: SiteConfig) -> Desk:
        state = SiteState(site.state_path)
        return Desk(site, read_holdings(site), state, AuditLog(state.folder / "audit.jsonl"))

    return make


class SiteGrid(LocalGrid):
    """A local grid whose clients sit at sites."""

    def __init__(self, config: ExperimentConfig, desks: list[Desk], sent: bytes) -> None:
        def at_site(message: Message, context: Context) -> Message:
            desk = desks[int(context.node_config["partition-id"])]
            reply = desk.answer(parcelled(message), context, sent)
            if reply.has_content() and reply.content.array_records:
                raise AssertionError("arrays left a site outside the parcel")
            return opened(reply)

        run_config = {EXPERIMENT_KEY: config.model_dump_json()}
        super().__init__(cast(ClientApp, at_site), config.clients.number, run_config)


@pytest.fixture
def federate() -> Callable[..., FederationResult]:
    """Run an experiment over desks, with every message in a parcel."""

    def run(config: ExperimentConfig, desks: list[Desk], sent: bytes | None = None) -> FederationResult:
        return run_apps(SiteGrid(config, desks, bundle() if sent is None else sent), config, Observer())

    return run
