"""What the server does with a teacher that has few rows, narrow ones, or others for each client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedkd.aggregation import MeanLogits, Stack
from fedkd.config.experiment import ExperimentConfig
from fedkd.distillation.executor import LocalExecutor
from fedkd.federation.answers import Answers
from fedkd.federation.references import compose_method
from fedkd.federation.server import Server
from fedkd.federation.workspace import open_workspace
from fedkd.methods import Method
from fedkd.methods.uploads import PublicLogits
from fedkd.payload import Rows

Make = Callable[..., ExperimentConfig]
KEYS = np.arange(24)


def server_of(config: ExperimentConfig, method: Method | None = None) -> Server:
    return Server(config, method or compose_method(config.method), open_workspace(config), LocalExecutor())


def method_with(**parts: Any) -> Method:
    return Method(**{"name": "mine", "uploads": (PublicLogits(),), "aggregate": MeanLogits(), **parts})


def logits(keys: Any, width: int = 10) -> Rows:
    return Rows.of(keys, np.random.default_rng(0).normal(size=(len(keys), width)))


@pytest.mark.parametrize("number", [1, 2])
def test_no_temperature_is_chosen_by_a_teacher_of_too_few_rows(make_config: Make, number: int) -> None:
    """Of one row none is held out at 0.2, and of two none; with more rows in a later round there is a choice."""
    selection = {"grid": [1.0, 4.0], "holdout_fraction": 0.2, "every": 0}
    server = server_of(make_config(run={"rounds": 2}, student={"temperature_selection": selection}))
    outcome = server.finish_round(1, KEYS, Answers(logits(KEYS[:number])))
    assert outcome.temperature_choice is None
    assert outcome.distillation is not None
    assert server.finish_round(2, KEYS, Answers(logits(KEYS))).temperature_choice is not None


@pytest.mark.parametrize(("width", "scored"), [(9, False), (10, True), (12, True)])
def test_rows_that_are_narrower_than_the_classes_have_no_score(make_config: Make, width: int, scored: bool) -> None:
    server = server_of(make_config(), method_with(adopts="nothing"))
    outcome = server.finish_round(1, KEYS, Answers(logits(KEYS, width), logits(np.arange(40), width)))
    assert (outcome.ensemble_teacher.accuracy is not None) == scored


def told_to(server: Server, server_round: int, client: int) -> float:
    """The one value that all told rows of a client have."""
    told = server.instruction(server_round, KEYS, client, 0).told
    assert told is not None
    assert len(set(told.wire["values"].ravel())) == 1
    return float(told.wire["values"][0, 0])


def test_a_client_that_is_left_out_is_told_the_teacher_also_when_it_was_told_something_else_before(
    make_config: Make,
) -> None:
    """In each round the clients that answered are told their number, the others the teacher, which is 50 · round."""

    def rows(value: float) -> Rows:
        return Rows.of(KEYS, np.full((len(KEYS), 10), value))

    def tells(stack: Stack, teacher: Rows) -> dict[int, Rows]:
        return {client: rows(client) for client in stack.clients_K}

    server = server_of(make_config(), method_with(adopts="soft_labels", tells=tells))
    for server_round, clients in ((1, (1, 2)), (2, (2, 3))):
        stack = Stack.of({client: rows(0.0) for client in clients}, KEYS)
        server.finish_round(server_round, KEYS, Answers(rows(50.0 * server_round), stack=stack))
    assert [told_to(server, 3, client) for client in range(4)] == [100.0, 100.0, 2.0, 3.0]
