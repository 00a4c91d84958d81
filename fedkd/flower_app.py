"""The server app that `flwr run` starts: the experiment of `fedkd simulate`, over the nodes of a Flower federation.

It leaves the same run folder. What it logs is shown by `flwr run --stream`; `docs/flower.md` has the command lines.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedkd.config.experiment import ExperimentConfig
from fedkd.data.config import SITES
from fedkd.errors import ConfigError
from fedkd.experiment import RunObserver, resume, run
from fedkd.federation.checkpoints import Checkpoints
from fedkd.federation.client_app import config_of
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult, run_server_app
from fedkd.flower.app_bundle import RESUMED_KEY
from fedkd.flower.internals import log_our_errors_as_lines
from fedkd.records import Refusal, RoundRecord
from fedkd.reporting import round_line

logger = logging.getLogger("flwr")
"""Flower's own: what it is told goes into the run's log."""

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the experiment that the run config holds, or go on with it where the run config says that it was begun.

    Raises:
        ConfigError: it was begun, and the run config does not say under which name.
        FedkdError: as `fedkd.experiment.run` does; Flower logs it as one line and counts the run as failed.
    """
    log_our_errors_as_lines()

    def federate(config: ExperimentConfig, observer: Observer, checkpoints: Checkpoints) -> FederationResult:
        at_sites = config.data.source == SITES  # which keep their state; other nodes', a snapshot cannot reach
        return run_server_app(grid, context, observer, checkpoints if at_sites else None)

    config = config_of(context)
    if context.run_config.get(RESUMED_KEY):
        if not config.run.name:
            raise ConfigError("run.name", "", "the name of the run folder to go on with")
        resume(Path(config.run.output) / config.run.name, _LoggingObserver(), federate=federate)
    else:
        run(config, _LoggingObserver(), federate)


class _LoggingObserver(RunObserver):
    """Writes a line for what happens into the run's log."""

    def on_folder(self, path: Path, rounds: int) -> None:
        logger.info("%d rounds; run folder: %s", rounds, path.absolute())

    def on_clients(self, clients: Sequence[int], refused: Sequence[Refusal]) -> None:
        logger.info("%d clients take part", len(clients))
        for refusal in refused:
            logger.warning("refused client %s: %s", refusal.client, refusal.detail)

    def on_round(self, record: RoundRecord) -> None:
        logger.info("%s", round_line(record))
        for refusal in record.refused:
            logger.warning("refused client %s: %s", refusal.client, refusal.detail)

    def on_baselines(self, what: str, done: int, total: int) -> None:
        if not done:
            logger.info("baselines: %s, %d to train", what, total)
