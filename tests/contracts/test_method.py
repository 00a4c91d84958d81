"""The contract of a federated method, over every method by name and one of a user's own."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer
from fedkd.federation.references import compose_method
from fedkd.federation.server_app import FederationResult
from fedkd.methods import available_methods

OWN_METHOD = '''
"""DS-FL: the mean of probabilities, sharpened (Itahara et al. 2021)."""

from pydantic import Field

from fedkd.aggregation import make_aggregator
from fedkd.methods.base import Method, MethodConfig, previous_weights
from fedkd.methods.refinements import EntropyReduction
from fedkd.methods.uploads import PublicLogits


class DsFlConfig(MethodConfig):
    """Keys of `[method]`."""

    era_temperature: float = Field(0.1, gt=0, description="T of entropy reduction")


def build(config: DsFlConfig) -> Method:
    """Clients and server learn from the sharpened mean of probabilities."""
    return Method(
        name="ds-fl",
        uploads=(PublicLogits(),),
        aggregate=make_aggregator("mean_probabilities"),
        refine=(EntropyReduction(config.era_temperature),),
        start=previous_weights,
        distils="student",
        adopts="soft_labels",
    )
'''
METHODS = (*available_methods(), "own_dsfl:build")


@pytest.fixture(autouse=True, scope="module")
def _own_method(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_dsfl.py").write_text(textwrap.dedent(OWN_METHOD))
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("own_dsfl", None)


def config_of(name: str, /, **sections: Any) -> ExperimentConfig:
    values: dict[str, Any] = {
        "run": {"rounds": 2, "baselines": False},
        "data": {"train_size": 160, "test_size": 80, "public": {"size": 40}, "partition": {"min_size": 5}},
        "clients": {"number": 3, "models": ["mlp"]},
        "training": {"epochs": 1},
        "student": {"model": "mlp", "epochs": 2},
        "method": {"name": name},
    }
    for section, changes in sections.items():
        values[section] = values.get(section, {}) | changes
    return parse_config(values)


def run(name: str, /, *, shuffle_seed: int | None = None, **sections: Any) -> FederationResult:
    return simulate(config_of(name, **sections), Observer(), shuffle_seed=shuffle_seed)


def same(left: FederationResult, right: FederationResult) -> bool:
    """Whether two federations ended with equal students, or without one with equally good clients."""
    scores = [(r.clients, r.ensemble_teacher, r.student) for r in left.history] == [
        (r.clients, r.ensemble_teacher, r.student) for r in right.history
    ]
    if left.student is None or right.student is None:
        return scores and left.student is right.student
    return scores and all(np.array_equal(left.student[key], right.student[key]) for key in left.student)


@pytest.fixture(scope="module")
def first_run() -> Callable[[str], FederationResult]:
    return lru_cache(run)


def test_a_users_own_method_fits_in_forty_lines() -> None:
    assert len(OWN_METHOD.strip().splitlines()) <= 40


@pytest.mark.parametrize("method", METHODS)
class TestMethod:
    def test_equal_seeds_give_equal_bits(self, method: str, first_run: Callable[[str], FederationResult]) -> None:
        assert same(first_run(method), run(method))

    def test_another_seed_gives_other_bits(self, method: str, first_run: Callable[[str], FederationResult]) -> None:
        assert not same(first_run(method), run(method, run={"rounds": 2, "baselines": False, "seed": 1}))

    @pytest.mark.parametrize("shuffle_seed", [1, 2])
    def test_the_order_of_clients_changes_nothing(
        self, method: str, shuffle_seed: int, first_run: Callable[[str], FederationResult]
    ) -> None:
        assert same(first_run(method), run(method, shuffle_seed=shuffle_seed))

    def test_the_record_has_what_the_method_has(
        self, method: str, first_run: Callable[[str], FederationResult]
    ) -> None:
        parts = compose_method(config_of(method).method)
        for record in first_run(method).history:
            assert record.completed
            assert record.replied == (0, 1, 2)
            assert (record.student.accuracy is None) == (parts.start is None)
            assert (record.ensemble_teacher.accuracy is None) == (parts.aggregate is None)
            assert (record.distillation is None) == (parts.distils == "nothing")
            assert record.clients.mean_accuracy is not None
            assert record.clients.worst_accuracy is not None
            assert record.clients.worst_accuracy <= record.clients.mean_accuracy
            assert record.bytes.up > 0

    def test_clients_send_logits_or_weights_and_nothing_else(
        self, method: str, first_run: Callable[[str], FederationResult]
    ) -> None:
        """Bytes up are three clients' logits on 40 samples of 10 classes, or their weights, plus array headers."""
        logits, weights = 40 * 10 * 4, (64 * 128 + 128 + 128 * 64 + 64 + 64 * 10 + 10) * 4
        arrays, size = (6, weights) if compose_method(config_of(method).method).sends_model else (1, logits)
        assert first_run(method).history[0].bytes.up == 3 * (size + arrays * 128)

    def test_a_mixed_population_learns_together(self, method: str) -> None:
        result = run(method, clients={"number": 3, "models": ["mlp", "cnn"]})
        assert result.history[-1].replied == (0, 1, 2)

    def test_few_clients_and_few_public_samples_a_round_suffice(self, method: str) -> None:
        result = run(
            method,
            clients={"number": 3, "models": ["mlp"], "fraction_train": 0.7},
            method={"name": method, "public_per_round": 20},
        )
        assert [len(record.selected) for record in result.history] == [2, 2]
        assert result.history[0].bytes.up < run(method).history[0].bytes.up
