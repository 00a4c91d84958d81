"""The parts of an experiment, composed once a process: its method, and each client's seam."""

from __future__ import annotations

from functools import lru_cache

from fedkd.attacks import AttackConfig
from fedkd.config.experiment import ExperimentConfig
from fedkd.methods.uploads import Upload
from fedkd.payload import PayloadConfig, RowsSpec, Seam


def client_seam(config: ExperimentConfig, client: int) -> Seam:
    """The seam of a client, which begins with what it lies.

    Raises:
        ConfigError: a part that cannot be made.
    """
    liar = client if client in config.attack.clients else -1
    return _seam(config.payload, config.attack, liar)


def honest_seam(config: ExperimentConfig) -> Seam:
    """The seam as the server knows it: it expects no lies."""
    return _seam(config.payload, config.attack, -1)


def sent_spec(config: ExperimentConfig, upload: Upload, num_classes: int) -> RowsSpec:
    """The spec of an upload's rows as they leave a client that does not lie."""
    return honest_seam(config).spec_after(upload.spec(num_classes, config.payload.bound))


@lru_cache(maxsize=8)
def _seam(payload: PayloadConfig, attack: AttackConfig, client: int) -> Seam:
    return payload.seam(attack.steps(client))
