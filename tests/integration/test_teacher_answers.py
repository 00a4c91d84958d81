"""What the networks of a federation compute: a teacher answers each public sample once a round, whatever the epochs."""

from __future__ import annotations

from collections import Counter

import pytest
from torch import nn

from fedkd.engines.simulation import simulate
from fedkd.federation.observers import Observer

ROUNDS, CLIENTS, PRIVATE, PUBLIC, TEST = 2, 4, 200, 60, 100


@pytest.fixture
def seen():
    """Samples that passed whole models, by whether they were learnt from."""
    counts: Counter[str] = Counter()

    def count(module: nn.Module, inputs: tuple) -> None:
        if hasattr(module, "classifier") and inputs[0].any():  # a model is tried on zeros as it is built
            counts["learnt" if module.training else "answered"] += len(inputs[0])

    hook = nn.modules.module.register_module_forward_pre_hook(count)
    yield counts
    hook.remove()


@pytest.mark.parametrize("epochs", [1, 6])
@pytest.mark.parametrize("name", ["fkd", "feddf", "fedmd"])
def test_no_epoch_of_a_distillation_asks_the_teacher_again(small_config, seen, name, epochs):
    config = small_config(
        method={"name": name, "local_distillation": {"epochs": epochs}},
        student={"epochs": epochs},
        data={"train_size": PRIVATE, "test_size": TEST, "public": {"size": PUBLIC}},
        run={"rounds": ROUNDS},
        clients={"number": CLIENTS},
    )
    assert len(simulate(config, Observer()).history) == ROUNDS
    clients = ROUNDS * CLIENTS * (PUBLIC + TEST)  # each answers the public samples once a round, and is measured
    student = ROUNDS * (PUBLIC + TEST)  # its agreement on the public samples, and its accuracy
    distilled_locally = (ROUNDS - 1) * CLIENTS  # each with its agreement
    probes = ROUNDS * CLIENTS * PUBLIC if name == "feddf" else 0  # weights that arrive are tried: are answers finite?
    assert seen["answered"] == clients + probes + (distilled_locally * PUBLIC if name == "fedmd" else student)
    distilled = epochs * PUBLIC * (distilled_locally if name == "fedmd" else ROUNDS)
    assert seen["learnt"] == ROUNDS * PRIVATE + distilled
