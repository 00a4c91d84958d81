from __future__ import annotations

from fedkd.reporting.settings import Setting, changed, differing, flat, run_labels


def experiment(method: str = "fkd", seed: int = 0, **settings: object) -> dict[str, object]:
    return {"run": {"seed": seed, "name": "x", "output": "runs"}, "method": {"name": method, **settings}}


def test_nested_keys_become_dotted_and_values_toml() -> None:
    config = {"a": 1, "b": {"c": "x", "d": {"e": [1, 2], "none": None}}, "on": True}
    assert flat(config) == {"a": "1", "b.c": '"x"', "b.d.e": "[ 1, 2, ]", "on": "true"}


def test_what_is_not_at_its_default_is_named_beside_it() -> None:
    config, defaults = experiment(temperature=3.0, alpha=1.0, own=2), experiment(temperature=1.0, alpha=1.0)
    assert changed(config, defaults) == [
        Setting("method.temperature", "3.0", "1.0"),
        Setting("method.own", "2", ""),
    ]


def test_runs_differ_by_what_results_depend_on() -> None:
    one = {"run": {"name": "a", "output": "x", "engine": "ray", "seed": 0}, "ray": {"workers": 2}}
    two = {"run": {"name": "b", "output": "y", "engine": "local", "seed": 0}, "ray": {"workers": 4}}
    assert differing([one, two]) == []
    assert differing([one, two, {"run": {"seed": 1}}]) == ["run.seed"]


def test_a_key_of_one_method_alone_does_not_tell_runs_apart() -> None:
    assert differing([experiment("fkd", temperature=1.0), experiment("fedavg")]) == ["method.name"]


def test_labels_are_the_settings_that_differ() -> None:
    configs = [experiment("fkd", 0), experiment("fkd", 1), experiment("fedmd", 0)]
    assert run_labels(configs, ["a", "b", "c"]) == ["seed = 0, fkd", "seed = 1, fkd", "seed = 0, fedmd"]


def test_equal_experiments_are_told_apart_by_their_folders() -> None:
    assert run_labels([experiment(), experiment()], ["a", "b"]) == ["(a)", "(b)"]
    three = [experiment(), experiment(), experiment("fedmd")]
    assert run_labels(three, ["a", "b", "c"]) == ["fkd (a)", "fkd (b)", "fedmd"]


def test_keys_that_end_alike_are_written_out() -> None:
    one = {"training": {"epochs": 1}, "student": {"epochs": 5}}
    two = {"training": {"epochs": 2}, "student": {"epochs": 6}}
    assert run_labels([one, two], ["a", "b"])[0] == "training.epochs = 1, student.epochs = 5"
