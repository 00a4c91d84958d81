from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from fedkd.config.experiment import parse_config
from fedkd.errors import ConfigError
from fedkd.methods import Method
from fedkd.methods.fkd import FkdConfig
from fedkd.methods.uploads import PublicLogits
from fedkd.payload import Rows, RowsSpec, Step
from fedkd.training.local_terms import LocalBatch, LocalTerm


class NeedsRows(LocalTerm):
    """A term that reads what the server sent."""

    needs_rows = True

    def __call__(self, batch: LocalBatch) -> Tensor:
        return batch.told.of(batch.labels_N)[0].mean()


@dataclass(frozen=True)
class Promises(Step):
    """A step that changes nothing but the spec."""

    bound: float = 30.0
    bounded: bool = True

    def __call__(self, rows: Rows, spec: RowsSpec, rng: np.random.Generator) -> Rows:
        return rows

    def after(self, spec: RowsSpec) -> RowsSpec:
        return replace(spec, bound=self.bound if self.bounded else np.inf, weighted=True)


DISTANCE = {"loss": "distance", "student": "", "weight": 1.0}
IMPOSSIBLE: dict[str, tuple[dict[str, Any], str, str]] = {
    "hard loss without labels": (
        {"student": {"objective": {"alpha": 0.9}}},
        "student.objective.alpha",
        "data.public.labelled = true",
    ),
    "smoothed labels without a hard loss": (
        {"student": {"objective": {"label_smoothing": 0.1}}},
        "student.objective.label_smoothing",
        "0 with student.objective.alpha = 1",
    ),
    "a student that fits log-probabilities": (
        {"method": {"aggregator": "mean_probabilities"}, "student": {"objective": {"loss": "mse"}}},
        "student.objective.loss",
        "one of kl, reverse_kl, js with method.aggregator = 'mean_probabilities'",
    ),
    "clients that fit log-probabilities": (
        {"method": {"refine": ["entropy_reduction"], "local_distillation": {"objective": {"loss": "l1"}}}},
        "method.local_distillation.objective.loss",
        "with method.refine = 'entropy_reduction'",
    ),
    "FedMD's own loss on log-probabilities": (
        {"method": {"name": "fedmd", "aggregator": "mean_probabilities"}},
        "method.local_distillation.objective.loss",
        "one of kl, reverse_kl, js",
    ),
    "more clients a round than there are": (
        {"clients": {"number": 3, "min_train_nodes": 4}},
        "clients.min_train_nodes",
        "at most clients.number, which is 3",
    ),
    "more replies than clients": (
        {"clients": {"number": 3, "min_replies": 4}},
        "clients.min_replies",
        "at most clients.number, which is 3",
    ),
    "more public samples a round than there are": (
        {"method": {"public_per_round": 11}, "data": {"public": {"size": 10}}},
        "method.public_per_round",
        "at most data.public.size, which is 10",
    ),
    "relations where nobody distils": (
        {"method": {"name": "fedavg"}, "student": {"objective": {"terms": [DISTANCE]}}},
        "student.objective.terms",
        "none with fedavg, which distils no student",
    ),
    "relations for a student that a consensus has not": (
        {"method": {"name": "fedmd"}, "student": {"objective": {"terms": [DISTANCE]}}},
        "student.objective.terms",
        "none with fedmd",
    ),
    "relations for clients that adopt the student": (
        {
            "method": {"local_distillation": {"objective": {"terms": [DISTANCE]}}},
            "clients": {"models": ["cnn"]},
            "student": {"model": "cnn"},
        },
        "method.local_distillation.objective.terms",
        "none with fkd and clients.models = ['cnn']: no client distils locally",
    ),
    "relations for clients whose weights are averaged": (
        {"method": {"name": "feddf", "local_distillation": {"objective": {"terms": [DISTANCE]}}}},
        "method.local_distillation.objective.terms",
        "none with feddf",
    ),
    "relations of log-probabilities": (
        {"method": {"aggregator": "mean_probabilities"}, "student": {"objective": {"terms": [DISTANCE]}}},
        "student.objective.terms",
        "none with method.aggregator = 'mean_probabilities', whose teacher is probabilities",
    ),
    "relations of log-probabilities at the clients": (
        {
            "method": {"refine": ["entropy_reduction"], "local_distillation": {"objective": {"terms": [DISTANCE]}}},
            "clients": {"models": ["cnn", "mlp"]},
        },
        "method.local_distillation.objective.terms",
        "none with method.refine = 'entropy_reduction'",
    ),
    "relations of samples in different shards": (
        {"student": {"shards": 2, "objective": {"terms": [DISTANCE]}}},
        "student.shards",
        "1 with student.objective.terms",
    ),
    "patience with nothing to watch": ({"student": {"patience": 2}}, "student.patience", "student.holdout_fraction"),
    "patience of clients with nothing to watch": (
        {"method": {"local_distillation": {"patience": 2}}},
        "method.local_distillation.patience",
        "method.local_distillation.holdout_fraction",
    ),
    "a temperature that the student's loss has not": (
        {"student": {"objective": {"loss": "mse", "temperature": 2.0}}},
        "student.objective.temperature",
        "1 with student.objective.loss = 'mse', which has no temperature",
    ),
    "a temperature that FedMD's own loss has not": (
        {"method": {"name": "fedmd", "local_distillation": {"objective": {"temperature": 2.0}}}},
        "method.local_distillation.objective.temperature",
        "1 with method.local_distillation.objective.loss = 'l1'",
    ),
    "a hard loss of clients without labels": (
        {"method": {"local_distillation": {"objective": {"alpha": 0.9}}}},
        "method.local_distillation.objective.alpha",
        "data.public.labelled = true",
    ),
    "the private source as the public one": (
        {"data": {"source": "mnist", "public": {"source": "mnist"}}},
        "data",
        "'same', which holds them apart",
    ),
    "an augmentation of images for texts": (
        {"data": {"source": "jsonl"}, "training": {"augmentation": ["flip"]}},
        "training.augmentation",
        "none of crop, flip with data.source = 'jsonl', which holds texts",
    ),
    "noise on rows without a bound": (
        {"payload": {"clip": False, "steps": [{"name": "gaussian_noise", "noise_multiplier": 1.0}]}},
        "payload.clip",
        "true with noise",
    ),
    "a step that takes the bound away, under masks": (
        {
            "payload": {"steps": [{"name": f"{__name__}:Promises", "bounded": False}]},
            "secure_aggregation": {"enabled": True},
        },
        "secure_aggregation.enabled",
        "payload.steps leave rows without a bound",
    ),
    "a step that gives rows weights, in too small a ring": (
        {
            "payload": {"steps": [f"{__name__}:Promises"]},
            "secure_aggregation": {"enabled": True, "ring_bits": 22, "value_bits": 16, "weight_bits": 8},
        },
        "secure_aggregation.ring_bits",
        "at least 28",
    ),
    "a term that needs rows which the method does not send": (
        {"training": {"terms": [f"{__name__}:NeedsRows"]}},
        "training.terms",
        "terms that need no rows of the server",
    ),
}
POSSIBLE: dict[str, dict[str, Any]] = {
    "hard loss with labels": {"student": {"objective": {"alpha": 0.9}}, "data": {"public": {"labelled": True}}},
    "smoothed labels in a hard loss": {
        "student": {"objective": {"alpha": 0.9, "label_smoothing": 0.1}},
        "data": {"public": {"labelled": True}},
    },
    "a divergence from probabilities": {
        "method": {"aggregator": "mean_probabilities", "refine": ["entropy_reduction"]},
        "student": {"objective": {"loss": "js"}},
    },
    "a consensus of probabilities that nobody distils": {
        "method": {
            "name": "fedmd",
            "aggregator": "mean_probabilities",
            "local_distillation": {"objective": {"loss": "reverse_kl"}},
        },
        "student": {"objective": {"loss": "mse"}},
    },
    "a loss of one's own on probabilities, with a temperature": {
        "method": {"aggregator": "mean_probabilities"},
        "student": {"objective": {"loss": "users.losses:huber", "temperature": 2.0}},
    },
    "all clients each round": {"clients": {"number": 3, "min_train_nodes": 3, "min_replies": 3}},
    "one client": {"clients": {"number": 1, "min_train_nodes": 1}},
    "all public samples each round": {"method": {"public_per_round": 10}, "data": {"public": {"size": 10}}},
    "relations of logits at the clients": {
        "method": {"local_distillation": {"objective": {"terms": [DISTANCE]}}},
        "clients": {"models": ["cnn", "mlp"]},
    },
    "relations of samples in one shard": {"student": {"shards": 1, "objective": {"terms": [DISTANCE]}}},
    "shards without relations": {"student": {"shards": 2}},
    "an augmentation of images": {"training": {"augmentation": ["flip", {"name": "crop", "padding": 1}]}},
    "a term without rows": {"training": {"terms": [{"name": "proximal", "mu": 0.1}]}},
    "patience with samples to watch": {"student": {"patience": 2, "holdout_fraction": 0.1}},
    "a student of its own where logits travel": {"student": {"model": "mlp"}, "clients": {"models": ["cnn"]}},
    "one of the clients' models where weights travel": {
        "student": {"model": "mlp"},
        "clients": {"models": ["cnn", "mlp"]},
        "method": {"name": "feddf"},
    },
    "another folder of the private source": {
        "data": {"source": "image_folder", "root": "a", "public": {"source": "image_folder", "root": "b"}}
    },
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_an_impossible_combination_is_refused(name: str) -> None:
    values, key, allowed = IMPOSSIBLE[name]
    with pytest.raises(ConfigError) as caught:
        parse_config(values)
    assert caught.value.key == key
    assert allowed in caught.value.allowed


@pytest.mark.parametrize("name", POSSIBLE)
def test_its_possible_neighbour_is_not(name: str) -> None:
    values = POSSIBLE[name]
    assert _holds(parse_config(values).model_dump(mode="json"), values)


def _holds(config: Any, values: Any) -> bool:
    """Whether every value that was given is in the configuration."""
    if not isinstance(values, dict):
        return bool(config in (values, {"name": values}))  # a part's name alone stands for its table
    return all(_holds(config[key], value) for key, value in values.items())


@pytest.mark.parametrize("method", ["fkd", "feddf"])
def test_a_student_that_is_distilled_may_be_unlike_all_clients(method: str) -> None:
    values = {"method": {"name": method}, "clients": {"models": ["cnn", "mlp"]}, "student": {"model": "lenet5"}}
    assert parse_config(values).student.model == "lenet5"


@pytest.mark.parametrize("method", ["fedavg", "fedprox"])
def test_an_average_of_weights_needs_a_client_of_that_architecture(method: str) -> None:
    with pytest.raises(ConfigError, match=rf"student\.model = 'lenet5'.*with {method} .*'cnn', 'mlp'"):
        parse_config(
            {"method": {"name": method}, "clients": {"models": ["cnn", "mlp"]}, "student": {"model": "lenet5"}}
        )


def test_clients_take_models_in_turn() -> None:
    config = parse_config({"clients": {"models": ["cnn", "mlp", "lenet5"]}})
    assert [config.client_model(client) for client in range(5)] == ["cnn", "mlp", "lenet5", "cnn", "mlp"]


@pytest.mark.parametrize(("every", "measured"), [(0, []), (1, [1, 2, 3, 4, 5]), (2, [2, 4, 5]), (9, [5])])
def test_clients_are_measured_every_so_many_rounds_and_in_the_last(every: int, measured: list[int]) -> None:
    config = parse_config({"run": {"rounds": 5, "evaluate_clients_every": every}})
    assert [server_round for server_round in range(1, 6) if config.evaluates_clients(server_round)] == measured


class OwnConfig(FkdConfig):
    """Keys of a user's own method."""

    boldness: int = 1


def build_own(config: OwnConfig) -> Method:
    if config.boldness > 1:
        raise RuntimeError("too bold")
    return Method(name=config.name, uploads=(PublicLogits(),))


def build_unannotated(config):  # type: ignore[no-untyped-def]
    return Method(name=config.name, uploads=(PublicLogits(),))


@pytest.fixture
def users_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's module, as if installed."""
    module = ModuleType("users_methods")
    module.__dict__.update(build_own=build_own, build_unannotated=build_unannotated, number=3)
    monkeypatch.setitem(sys.modules, "users_methods", module)


@pytest.mark.usefixtures("users_module")
def test_a_users_builder_brings_its_own_keys() -> None:
    config = parse_config({"method": {"name": "users_methods:build_own", "boldness": 0}})
    assert config.method == OwnConfig(name="users_methods:build_own", boldness=0)
    with pytest.raises(ConfigError, match=r"method\.boldnes .*did you mean 'boldness'"):
        parse_config({"method": {"name": "users_methods:build_own", "boldnes": 0}})


@pytest.mark.usefixtures("users_module")
@pytest.mark.parametrize(
    ("method", "allowed"),
    [
        ({"name": "users_methods:build_own", "boldness": 2}, "RuntimeError: too bold"),
        ({"name": "users_methods:build_unannotated"}, "annotated with a MethodConfig"),
        ({"name": "users_methods:number"}, "annotated with a MethodConfig"),
        ({"name": "users_methods:missing"}, "has no attribute 'missing'"),
        ({"name": "no_such_module_anywhere:build"}, "does not import"),
        ({"name": ".relative:build"}, "package.module:attribute"),
        ({"name": "a:"}, "package.module:attribute"),
        ({"name": 3}, "one of fkd, fedmd"),
    ],
)
def test_a_builder_that_does_not_work_is_refused(method: dict[str, Any], allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"method": method})
    assert (caught.value.key, caught.value.value) == ("method.name", str(method["name"]))
    assert allowed in caught.value.allowed
