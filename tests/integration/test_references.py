"""References against independent ones: a federation written by hand, and equalities that must hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from fedkd.aggregation import weighted_average
from fedkd.config.experiment import ExperimentConfig
from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer
from fedkd.federation.references import compose_method, train_baselines
from fedkd.federation.workspace import open_workspace
from fedkd.flower.internals import task_identity
from fedkd.methods import Contribution, MethodConfig, method_config_type
from fedkd.seeding import derive_seed


def plain_fedavg(config: ExperimentConfig) -> dict[str, np.ndarray]:
    """FedAvg in plain torch: no grid, no messages, no strategy, none of our loops."""
    workspace = open_workspace(config)
    seed, cfg = config.run.seed, config.training
    model = workspace.build_model("mlp", derive_seed(seed, "student"))
    state = {key: value.clone() for key, value in model.state_dict().items()}
    for server_round in range(1, config.run.rounds + 1):
        total, new = 0, {key: torch.zeros_like(value, dtype=torch.float64) for key, value in state.items()}
        for client in range(config.clients.number):
            images, labels = workspace.client(client)
            model.load_state_dict(state)
            optimizer = torch.optim.SGD(model.parameters(), lr=cfg.learning_rate, momentum=cfg.momentum)
            seed_of_order = derive_seed(derive_seed(seed, "client", client, "round", server_round, "training"), "order")
            rng = torch.Generator().manual_seed(seed_of_order)
            model.train()
            for _ in range(cfg.epochs):
                order = torch.randperm(len(labels), generator=rng)
                for start in range(0, len(labels), cfg.batch_size):
                    batch = order[start : start + cfg.batch_size]
                    optimizer.zero_grad()
                    torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
                    optimizer.step()
            total += len(labels)
            for key, value in model.state_dict().items():
                new[key] += value.double() * len(labels)
        state = {key: (value / total).float() for key, value in new.items()}
    return {key: value.numpy() for key, value in state.items()}


def test_fedavg_equals_a_plain_loop(small_config: Callable[..., ExperimentConfig]) -> None:
    sizes = [len(labels) for _, labels in map(open_workspace(small_config()).client, range(4))]
    no_last_batch_of_one = next(size for size in range(6, 20) if all(n % size != 1 for n in sizes))
    config = small_config(method={"name": "fedavg"}, run={"rounds": 3}, training={"batch_size": no_last_batch_of_one})
    student = simulate(config, Observer()).student
    assert student is not None
    for key, expected in plain_fedavg(config).items():
        np.testing.assert_allclose(student[key], expected, rtol=0, atol=2e-6)


def test_flowers_average_equals_ours() -> None:
    rng = np.random.default_rng(0)
    weights = [
        {"w": rng.normal(size=(3, 4)).astype(np.float32), "n": np.array(5 + k, dtype=np.int64)} for k in range(3)
    ]
    contributions = [Contribution(k, "mlp", 10 * (k + 1), weights=w) for k, w in enumerate(weights)]
    method = compose_method(_reference("fedavg"))
    assert method.start is not None
    with task_identity(run_id=1, node_id=0):
        average = method.start(weights[0], contributions)
    expected = weighted_average(weights, [10, 20, 30])
    np.testing.assert_allclose(average["w"], expected["w"], atol=1e-7)
    assert average["n"].dtype == np.int64


def test_an_architecture_without_replies_keeps_its_model() -> None:
    previous = {"w": np.ones(2, np.float32)}
    for name in ("fedavg", "fedprox"):
        method = compose_method(_reference(name))
        assert method.start is not None
        assert method.start(previous, []) is previous


def _reference(name: str) -> MethodConfig:
    return method_config_type(name).model_validate({"name": name})


def test_fedprox_without_its_term_is_fedavg(small_config: Callable[..., ExperimentConfig]) -> None:
    fedavg = simulate(small_config(method={"name": "fedavg"}), Observer()).student
    fedprox = simulate(small_config(method={"name": "fedprox", "proximal_mu": 0.0}), Observer()).student
    long = {"epochs": 10}
    free = simulate(small_config(method={"name": "fedavg"}, training=long), Observer()).student
    held_back = simulate(
        small_config(method={"name": "fedprox", "proximal_mu": 10.0}, training=long), Observer()
    ).student
    assert fedavg is not None
    assert fedprox is not None
    assert free is not None
    assert held_back is not None
    assert all(np.array_equal(fedavg[key], fedprox[key]) for key in fedavg)
    start = open_workspace(small_config()).build_model("mlp", derive_seed(0, "student")).state_dict()
    moved, moved_less = (
        sum(float(np.square(weights[key] - start[key].numpy()).sum()) for key in weights)
        for weights in (free, held_back)
    )
    assert moved_less < 0.5 * moved


def test_clients_that_learn_nothing_from_labels_are_the_local_only_baseline(
    small_config: Callable[..., ExperimentConfig],
) -> None:
    config = small_config(run={"rounds": 3}, method={"name": "fedmd", "local_distillation": {"epochs": 0}})
    history = simulate(config, Observer()).history
    baselines = train_baselines(config, open_workspace(config), lambda *_: None)
    assert [record.clients.mean_accuracy for record in history] == pytest.approx(baselines.local_only_history, abs=0)
    assert baselines.local_only == baselines.local_only_history[-1]


def test_the_centralised_baseline_is_above_local_only(small_config: Callable[..., ExperimentConfig]) -> None:
    config = small_config(run={"rounds": 5})
    baselines = train_baselines(config, open_workspace(config), lambda *_: None)
    assert baselines.centralised is not None
    assert baselines.local_only is not None
    assert baselines.centralised > baselines.local_only + 0.1
    assert len(baselines.centralised_history) == len(baselines.local_only_history) == 5
