"""The server chooses the temperature: when, on which samples, with which effect, the same on every engine."""

from __future__ import annotations

import numpy as np
import pytest

from fedkd.engines.simulation import simulate
from fedkd.engines.temperature_search import choose_temperature, with_grid
from fedkd.errors import ConfigError
from fedkd.federation import temperature_selection
from fedkd.federation.observers import Observer


def selecting(**keys):
    return {"model": "mlp", "epochs": 2, "temperature_selection": {"grid": [1, 4]} | keys}


def test_off_by_default(small_config):
    assert all(record.temperature_choice is None for record in simulate(small_config(), Observer()).history)


@pytest.mark.parametrize(("every", "rounds"), [(0, [1]), (1, [1, 2, 3]), (2, [2])])
def test_the_rounds_in_which_it_chooses(small_config, every, rounds):
    config = small_config(run={"rounds": 3}, student=selecting(every=every))
    history = simulate(config, Observer()).history
    assert [record.server_round for record in history if record.temperature_choice] == rounds
    choice = history[rounds[0] - 1].temperature_choice
    assert [trial.temperature for trial in choice.trials] == [1, 4]
    assert (choice.samples, choice.labelled) == (12, False)


def test_the_chosen_temperature_leaves_the_bits_of_a_run_that_had_it_configured(small_config):
    chosen = simulate(small_config(student=selecting()), Observer())
    t = chosen.history[0].temperature_choice.temperature
    students = [chosen.student]
    configured = [small_config(student={"objective": {"temperature": other}}) for other in (t, 5 - t)]
    students += [simulate(config, Observer()).student for config in configured]
    same = [all(np.array_equal(students[0][key], s[key]) for key in students[0]) for s in students[1:]]
    assert same == [True, False]


def test_trials_are_measured_on_samples_that_they_have_not_learnt_from(small_config, monkeypatch):
    seen = []
    original = temperature_selection.Trial.__call__

    def watched(self, setting):
        seen.append((setting, set(self.task.indices_N.tolist()), set(self.held_out_N.tolist()), self.task.seed))
        return original(self, setting)

    monkeypatch.setattr(temperature_selection.Trial, "__call__", watched)
    config = small_config(
        data={"public": {"labelled": True}},
        student=selecting(alphas=[1.0, 0.5], holdout_fraction=0.25),
        method={"public_per_round": 40},
    )
    choice = simulate(config, Observer()).history[0].temperature_choice
    assert choice.labelled
    assert [tuple(setting) for setting, *_ in seen] == [(1, 1), (4, 1), (1, 0.5), (4, 0.5)]
    (_, learnt, held_out, seed), *others = seen
    assert (len(learnt), len(held_out), learnt & held_out) == (30, 10, set())
    assert all(other[1:] == (learnt, held_out, seed) for other in others)


def test_a_server_that_is_restored_keeps_its_choice(small_config):
    config = small_config(student=selecting())
    first, second = (temperature_selection.TemperatureSelector(config, None, None) for _ in range(2))
    first._chosen = temperature_selection.Setting(4.0, 1.0)
    second.restore(first.state())
    assert second.config.student.objective.temperature == 4.0
    assert second.choose(2, None) is None
    second.restore({})
    assert second.config is config


def test_workers_choose_as_this_process_does(small_config, ray_on_this_machine):
    choices = [
        choose_temperature(small_config(run={"rounds": 1, "engine": engine}, student=selecting()))
        for engine in ("local", "ray")
    ]
    assert choices[0] == choices[1]


def test_a_short_federation_chooses_in_its_last_round(small_config):
    config = small_config(student=selecting())
    last = simulate(small_config(student=selecting(every=2)), Observer()).history[-1].temperature_choice
    assert choose_temperature(config) == last
    with pytest.raises(ConfigError, match="one or more temperatures"):
        choose_temperature(small_config())


def test_a_grid_from_the_command_line(small_config):
    def grid(config, text):
        return with_grid(config, text).student.temperature_selection.grid

    assert grid(small_config(), None) == (0.5, 1, 2, 4, 8)
    assert grid(small_config(student=selecting()), None) == (1, 4)
    assert grid(small_config(student=selecting()), "2, 3") == (2, 3)
    for text in ("", "1,x", "0", "1,1"):
        with pytest.raises(ConfigError):
            grid(small_config(), text)


@pytest.mark.parametrize(
    ("sections", "key"),
    [
        ({"student": selecting(grid=[1, 1])}, "grid"),
        ({"student": selecting(grid=[0.0])}, "grid"),
        ({"student": selecting(), "method": {"name": "fedmd"}}, "grid"),
        ({"student": selecting() | {"objective": {"loss": "mse"}}}, "grid"),
        ({"student": selecting(alphas=[0.5])}, "alphas"),
        ({"student": selecting(grid=[], alphas=[1.0])}, "alphas"),
        ({"student": selecting(holdout_fraction=0.001)}, "holdout_fraction"),
        ({"student": selecting(holdout_fraction=0.999)}, "holdout_fraction"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(small_config, sections, key):
    with pytest.raises(ConfigError, match=rf"student\.temperature_selection\.{key}"):
        small_config(**sections)
