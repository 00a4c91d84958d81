from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from fedkd.records import RunRecord
from fedkd.reporting import ReportedRun
from fedkd.reporting.settings import Setting, changed, differing, flat, run_labels

Config = Mapping[str, object]
Report = Callable[..., ReportedRun]


@pytest.fixture
def report(make_run: Callable[..., RunRecord]) -> Report:
    def made(config: Config, defaults: Config | None = None, name: str = "a") -> ReportedRun:
        return ReportedRun(make_run(1, run_dir=f"runs/{name}"), config, defaults=defaults or {})

    return made


def experiment(method: str = "fkd", seed: int = 0, **settings: object) -> dict[str, object]:
    return {"run": {"seed": seed, "name": "x", "output": "runs"}, "method": {"name": method, **settings}}


def test_nested_keys_become_dotted_and_values_toml() -> None:
    config = {"a": 1, "b": {"c": "x", "d": {"e": [1, 2], "none": None}}, "on": True}
    assert flat(config) == {"a": "1", "b.c": '"x"', "b.d.e": "[1, 2]", "on": "true"}


def test_what_is_not_at_its_default_is_named_beside_it(report: Report) -> None:
    config, defaults = experiment(temperature=3.0, alpha=1.0, own=2), experiment(temperature=1.0, alpha=1.0)
    assert changed(report(config, defaults)) == [
        Setting("method.temperature", "3.0", "1.0"),
        Setting("method.own", "2", ""),
    ]


def test_runs_differ_by_what_results_depend_on(report: Report) -> None:
    one = {"run": {"name": "a", "output": "x", "engine": "ray", "seed": 0}, "ray": {"workers": 2}}
    two = {"run": {"name": "b", "output": "y", "engine": "local", "seed": 0}, "ray": {"workers": 4}}
    assert differing([report(one), report(two)]) == []
    assert differing([report(one), report({"run": {"seed": 1}})]) == ["run.seed"]


def test_a_methods_own_keys_and_defaults_do_not_tell_runs_apart(report: Report) -> None:
    fkd, fedmd = experiment("fkd", temperature=1.0, loss="kl"), experiment("fedmd", digests=True, loss="l1")
    assert differing([report(fkd, fkd), report(fedmd, fedmd)]) == ["method.name"]


def test_labels_name_method_and_seed_and_what_left_its_default(report: Report) -> None:
    usual = experiment(temperature=1.0)
    configs = [experiment("fkd", 0, temperature=1.0), experiment("fkd", 1, temperature=3.0), experiment("fedmd", 0)]
    labels = run_labels([report(config, usual) for config in configs])
    assert labels == ["fkd, seed = 0", "fkd, seed = 1, temperature = 3.0", "fedmd, seed = 0"]


def test_what_stands_at_its_default_is_named_where_nothing_else_tells_runs_apart(report: Report) -> None:
    usual = experiment(temperature=1.0)
    runs = [report(experiment(temperature=value), usual) for value in (1.0, 3.0)]
    assert run_labels(runs) == ["temperature = 1.0", "temperature = 3.0"]


def test_equal_experiments_are_told_apart_by_their_folders(report: Report) -> None:
    twins = [report(experiment(), name="a"), report(experiment(), name="b")]
    assert run_labels(twins) == ["(a)", "(b)"]
    assert run_labels([*twins, report(experiment("fedmd"))]) == ["fkd (a)", "fkd (b)", "fedmd"]


def test_keys_that_end_alike_are_written_out(report: Report) -> None:
    one = {"training": {"epochs": 1}, "student": {"epochs": 5}}
    two = {"training": {"epochs": 2}, "student": {"epochs": 6}}
    assert run_labels([report(one), report(two)])[0] == "training.epochs = 1, student.epochs = 5"
