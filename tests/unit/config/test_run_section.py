"""What a run keeps and whom it tells: what would stay empty is refused, and modules are not imported to read a file."""

from __future__ import annotations

from typing import Any

import pytest

from fedkd.config.experiment import parse_config
from fedkd.errors import ConfigError
from fedkd.storage.run_store import RunStore

MASKED = {"secure_aggregation": {"enabled": True}}


@pytest.mark.parametrize(
    ("method", "saved"),
    [
        ("fkd", ["rows", "teacher"]),
        ("fedmd", ["teacher", "rows"]),
        ("feddf", ["teacher", "clients"]),
        ("fedavg", ["clients"]),
    ],
)
def test_what_a_method_has_can_be_kept(method: str, saved: list[str]) -> None:
    assert list(parse_config({"method": {"name": method}, "run": {"save": saved}}).run.save) == saved


@pytest.mark.parametrize(
    ("method", "saved", "why"),
    [
        ("fkd", ["rows", "clients"], "without 'clients' with fkd, whose clients send no weights"),
        ("fedmd", ["clients"], "without 'clients' with fedmd, whose clients send no weights"),
        ("feddf", ["rows"], "without 'rows' with feddf, whose clients send no rows"),
        ("fedavg", ["clients", "rows"], "without 'rows' with fedavg, whose clients send no rows"),
        ("fedprox", ["teacher"], "without 'teacher' with fedprox, which has no teacher"),
    ],
)
def test_what_would_stay_empty_is_refused(method: str, saved: list[str], why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_config({"method": {"name": method}, "run": {"save": saved}})
    assert (refused.value.key, refused.value.value, refused.value.allowed) == ("run.save", saved, why)


@pytest.mark.parametrize("saved", [["rows"], ["clients"], ["teacher", "rows"]])
def test_what_a_server_under_masks_does_not_see_is_refused(saved: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"teacher alone with secure_aggregation\.enabled"):
        parse_config({"run": {"save": saved}, **MASKED})
    assert parse_config({"run": {"save": ["teacher"]}, **MASKED}).run.save == ("teacher",)


def test_what_cannot_be_kept_is_named_with_what_can() -> None:
    with pytest.raises(ConfigError, match=r"run\.save\.0 = 'logits' .*'rows', 'teacher' or 'clients'"):
        parse_config({"run": {"save": ["logits"]}})


@pytest.mark.parametrize("observer", ["printer", {"name": "printer", "every": 2}, "a:", "module:1"])
def test_an_observer_without_an_import_path_is_refused(observer: Any) -> None:
    with pytest.raises(ConfigError, match=r"run\.observers .*is no import path; package\.module:Observer"):
        parse_config({"run": {"observers": [observer]}})


def test_sites_get_no_experiment_that_names_an_observer() -> None:
    run = {"baselines": False, "evaluate_clients_every": 0, "observers": ["no_such_module:One"]}
    sites = {"source": "sites", "classes": ["a", "b"], "public": {"root": "public"}}
    with pytest.raises(
        ConfigError, match=r"run\.observers = \['no_such_module:One'\] .*none with data\.source = 'sites'"
    ):
        parse_config({"run": run, "data": sites})


def test_observers_are_kept_with_their_arguments_and_not_imported(tmp_path: Any) -> None:
    """Clients read the configuration, too, and need not have the module."""
    observers = ["no_such_module:One", {"name": "no_such_module:Two", "every": 2}]
    config = parse_config({"run": {"observers": observers}})
    store = RunStore.create(tmp_path, "run")
    store.write_config(config.model_dump(mode="json"))
    again = parse_config(store.read_config())
    assert again == config
    assert [(part.name, part.arguments) for part in again.run.observers] == [
        ("no_such_module:One", {}),
        ("no_such_module:Two", {"every": 2}),
    ]
