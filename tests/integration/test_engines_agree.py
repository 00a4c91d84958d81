"""One experiment, the same bits, wherever it runs: in this process, or on one or two Ray workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from fedkd.config.experiment import ExperimentConfig
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_on_this_machine")]

MIXED = {"number": 4, "models": ["mlp", "cnn"]}
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "fkd in two shards": {"method": {"name": "fkd"}, "student": {"model": "mlp", "epochs": 2, "shards": 2}},
    "fedmd": {"method": {"name": "fedmd"}},
    "feddf": {"method": {"name": "feddf"}},
    "a mixed population": {"method": {"name": "fkd"}, "clients": MIXED},
    "a mixed population whose weights travel": {"method": {"name": "feddf"}, "clients": MIXED},
}


@pytest.fixture(params=EXPERIMENTS)
def run_on(request: pytest.FixtureRequest, small_config: Callable[..., ExperimentConfig]) -> Iterator[Any]:
    """Runs one of the experiments on an engine."""
    sections = EXPERIMENTS[request.param]

    def run(engine: str, workers: int = 0) -> FederationResult:
        config = small_config(**sections, run={"engine": engine}, ray={"workers": workers})
        return simulate(config, Observer(), shuffle_seed=workers or None)

    return run


def test_engines_agree(run_on: Callable[..., FederationResult]) -> None:
    local = run_on("local")
    for workers in (1, 2):
        parallel = run_on("ray", workers)
        for one, other in zip(local.history, parallel.history, strict=True):
            assert one.model_copy(update={"seconds": other.seconds}) == other
        assert (local.student is None) == (parallel.student is None)
        for key, weights in (local.student or {}).items():
            np.testing.assert_array_equal(weights, parallel.student[key], strict=True)
