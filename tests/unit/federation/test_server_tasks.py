"""The server's distillation is the one that the experiment describes, and goes on where it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedkd.config.experiment import ExperimentConfig

Make = Callable[..., ExperimentConfig]
HARD = {"data": {"public": {"size": 24, "labelled": True}}, "student": {"objective": {"alpha": 0.5}}}
LONG = {"student": {"epochs": 6, "learning_rate": 0.2, "holdout_fraction": 0.25}}


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    return first | {key: {**first.get(key, {}), **value} for key, value in second.items()}


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({}, {"student": {"objective": {"temperature": 4.0}}}),
        (HARD, {"student": {"objective": {"alpha": 0.1}}}),
        (HARD, {"student": {"objective": {"alpha": 0.5, "label_smoothing": 0.3}}}),
        ({}, {"student": {"epochs": 2}}),
        ({}, {"student": {"objective": {"loss": "js"}}}),
        ({}, {"student": {"holdout_fraction": 0.25}}),
        ({}, {"student": {"shards": 2}}),
        ({}, {"student": {"objective": {"terms": [{"loss": "distance"}]}}}),
        (LONG, {"student": {"patience": 1}}),
    ],
    ids=lambda value: ",".join(f"{s}.{k}" for s, keys in value.items() for k in keys),
)
def test_every_setting_of_the_distillation_reaches_the_student(
    make_config: Make, federate: Any, same_bits: Any, base: dict[str, Any], change: dict[str, Any]
) -> None:
    first, again, other = (
        federate(make_config(**sections)).result.student for sections in (base, base, merged(base, change))
    )
    assert same_bits(first, again)
    assert not same_bits(first, other)


@pytest.mark.parametrize("method", ["fkd", "feddf"])
def test_an_optimiser_that_is_kept_goes_on_in_the_next_round(
    make_config: Make, federate: Any, same_bits: Any, method: str
) -> None:
    """Moments change nothing in the first round; from the second on, a fresh optimiser steps elsewhere."""

    def student(rounds: int, state: str) -> dict[str, Any]:
        keys = {"optimizer": "adam", "optimizer_state": state}
        return federate(make_config(run={"rounds": rounds}, method={"name": method}, student=keys)).result.student

    assert same_bits(student(1, "kept"), student(1, "fresh"))
    assert not same_bits(student(2, "kept"), student(2, "fresh"))


def test_the_student_goes_on_from_the_student_of_the_round_before(
    make_config: Make, federate: Any, payloads: Any, same_bits: Any
) -> None:
    """What clients adopt in round 2 is what a run of one round ends with; without an epoch it is the first student."""
    grid = federate(make_config(run={"rounds": 2})).grid
    assert same_bits(payloads.weights_down(grid.asked(2)[0]), federate(make_config()).result.student)
    assert not same_bits(payloads.weights_down(grid.asked(2)[0]), payloads.weights_down(grid.asked(1)[0]))
    still = federate(make_config(run={"rounds": 2}, student={"epochs": 0}))
    assert same_bits(still.result.student, payloads.weights_down(grid.asked(1)[0]))


def test_a_chosen_temperature_is_the_one_that_the_student_learns_at(
    make_config: Make, federate: Any, same_bits: Any
) -> None:
    """The student comes to the bits to which it would have come had the choice been configured."""
    selecting = make_config(student={"temperature_selection": {"grid": [3.0, 9.0]}})
    result = federate(selecting).result
    choice = result.history[0].temperature_choice
    assert choice is not None
    assert choice.temperature in {3.0, 9.0}
    at_the_choice = federate(make_config(student={"objective": {"temperature": choice.temperature}})).result.student
    assert same_bits(result.student, at_the_choice)
    assert not same_bits(result.student, federate(make_config()).result.student)


def test_the_report_is_that_of_the_student(make_config: Make, federate: Any) -> None:
    """Two architectures learn; the record's report is of `student.model`, whichever of them that is."""
    sections = {"method": {"name": "feddf"}, "clients": {"models": ["mlp", "cnn"]}}
    reports = [
        federate(make_config(**sections, student={"model": model})).result.history[0].distillation
        for model in ("mlp", "cnn")
    ]
    assert reports[0].first_loss != reports[1].first_loss
