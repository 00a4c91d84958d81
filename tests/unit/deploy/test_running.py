"""Runs of a deployment: begun once, gone on with as often as needed, never two at a time in one folder."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fedkd.config.experiment import ExperimentConfig, load_config, parse_config
from fedkd.deploy import Deployment, initialise, resume_deployed, revoke_client, run_deployed, stop_deployed
from fedkd.deploy import operator as flower
from fedkd.deploy.running import deployed_config
from fedkd.errors import ConfigError, DeploymentError, RunFolderError
from fedkd.flower.app_bundle import EXPERIMENT_KEY, RESUMED_KEY
from fedkd.storage.files import to_toml

COMPOSE = Path(__file__).parents[3] / "docker" / "compose.yaml"
DIGITS = Path(__file__).parents[3] / "simulations" / "digits.toml"
FOR_SITES = ("data.source=sites", "data.classes=['a','b']", "run.baselines=false", "run.evaluate_clients_every=0")


class SuperLink:
    """Answers Flower's commands as a SuperLink would: runs by id, in the order in which they came."""

    def __init__(self) -> None:
        self.statuses: dict[str, str] = {}
        self.submitted: list[dict[str, str]] = []
        self.stopped: list[str] = []
        self.ends_as = "finished:failed"

    def answer(self, _: Deployment, *arguments: str) -> dict[str, object]:
        if arguments[0] == "run":
            run_id = str(101 + len(self.statuses))
            self.submitted.append(tomllib.loads(Path(arguments[-1]).read_text()))
            self.statuses[run_id] = self.ends_as
            return {"run-id": run_id}
        if arguments[0] == "list":
            asked = [arguments[-1]] if "--run-id" in arguments else self.statuses
            return {"runs": [{"run-id": each, "status": self.statuses[each]} for each in asked]}
        if arguments[0] == "stop":
            self.stopped.append(arguments[1])
        return {}

    def experiment(self) -> ExperimentConfig:
        """The one that was submitted last."""
        return parse_config(json.loads(self.submitted[-1][EXPERIMENT_KEY]))


@pytest.fixture
def superlink(monkeypatch: pytest.MonkeyPatch) -> SuperLink:
    def log(_: Deployment, run_id: str) -> Iterator[str]:
        yield f"the log of {run_id}"

    superlink = SuperLink()
    monkeypatch.setattr(flower, "_asked", superlink.answer)
    monkeypatch.setattr("fedkd.deploy.running.run_log", log)
    return superlink


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return initialise(tmp_path / "fed", 3, "server.example", compose=COMPOSE)


def begin(deployment: Deployment, superlink: SuperLink, name: str = "first") -> None:
    """A run that fails once it has made its folder."""
    with pytest.raises(DeploymentError, match="the run ended as 'finished:failed'"):
        run_deployed(deployment, DIGITS, [*FOR_SITES, "clients.number=3", f"run.name={name}"], print)
    folder = deployment.runs / name
    folder.mkdir()
    (folder / "config.toml").write_text(to_toml(superlink.experiment().model_dump(mode="json")))


def resume_and_fail(deployment: Deployment) -> None:
    with pytest.raises(DeploymentError, match="the run ended as 'finished:failed'"):
        resume_deployed(deployment, "first", print)


def test_an_experiment_that_is_none_for_sites_is_refused(deployment: Deployment) -> None:
    with pytest.raises(ConfigError, match=r"data\.source = 'digits' is not allowed: 'sites'"):
        deployed_config(deployment, load_config(DIGITS), datetime.now(UTC))


def test_an_experiment_over_what_is_left_waits_for_as_many(deployment: Deployment, superlink: SuperLink) -> None:
    deployment = revoke_client(deployment, 1)
    for number in (2, 4):
        loaded = load_config(DIGITS, [*FOR_SITES, f"clients.number={number}"])
        with pytest.raises(ConfigError, match=rf"clients\.number = {number} is not allowed: 3; .* client 0, 2"):
            deployed_config(deployment, loaded, datetime.now(UTC))
    loaded = load_config(DIGITS, [*FOR_SITES, "clients.number=3"])
    assert deployed_config(deployment, loaded, datetime.now(UTC)).clients.min_available_nodes == 2


def test_each_time_that_a_run_is_resumed_sites_are_told_of_all_before(
    deployment: Deployment, superlink: SuperLink
) -> None:
    begin(deployment, superlink)
    for _ in range(2):
        resume_and_fail(deployment)
    superlink.ends_as = "finished:completed"
    assert resume_deployed(deployment, "first", print) == deployment.runs / "first"
    assert [each[RESUMED_KEY] for each in superlink.submitted] == ["", "101", "101,102", "101,102,103"]
    assert flower.run_ids(deployment) == {"first": ("101", "102", "103", "104")}
    stop_deployed(deployment, "first")
    assert superlink.stopped == ["104"]


@pytest.mark.parametrize("status", ["pending", "starting", "running"])
def test_a_run_that_is_still_going_is_not_resumed(deployment: Deployment, superlink: SuperLink, status: str) -> None:
    begin(deployment, superlink)
    superlink.statuses["101"] = status
    with pytest.raises(DeploymentError, match=rf"run first is {status} \(id 101\); `fedkd deploy stop` ends it"):
        resume_deployed(deployment, "first", print)
    assert len(superlink.submitted) == 1
    assert flower.run_ids(deployment) == {"first": ("101",)}


def test_a_run_that_the_superlink_has_forgotten_is_resumed(deployment: Deployment, superlink: SuperLink) -> None:
    begin(deployment, superlink)
    superlink.statuses = {}
    resume_and_fail(deployment)
    assert superlink.submitted[-1][RESUMED_KEY] == "101"


def test_no_run_begins_under_the_name_of_another(deployment: Deployment, superlink: SuperLink) -> None:
    begin(deployment, superlink)
    again = [*FOR_SITES, "clients.number=3", "run.name=first"]
    with pytest.raises(ConfigError, match=r"run\.name = 'first' is not allowed: a name that is free"):
        run_deployed(deployment, DIGITS, again, print)
    (deployment.runs / "first" / "config.toml").unlink()
    (deployment.runs / "first").rmdir()
    superlink.statuses["101"] = "pending"
    with pytest.raises(DeploymentError, match="run first is pending"):
        run_deployed(deployment, DIGITS, again, print)
    assert len(superlink.submitted) == 1
    superlink.statuses["101"] = "finished:failed"
    begin(deployment, superlink)
    assert flower.run_ids(deployment) == {"first": ("102",)}


def test_a_run_is_resumed_with_the_clients_that_are_left(deployment: Deployment, superlink: SuperLink) -> None:
    begin(deployment, superlink)
    assert superlink.experiment().clients.min_available_nodes == 3
    resume_and_fail(revoke_client(deployment, 1))
    assert superlink.experiment().clients.min_available_nodes == 2
    assert load_config(deployment.runs / "first" / "config.toml").clients.min_available_nodes == 3


def test_a_run_that_was_not_started_here_is_neither_stopped_nor_resumed(
    deployment: Deployment, superlink: SuperLink
) -> None:
    begin(deployment, superlink)
    for command in (lambda: stop_deployed(deployment, "other"), lambda: resume_deployed(deployment, "other", print)):
        with pytest.raises(ConfigError, match="NAME = 'other' is not allowed: a run that was started here: first"):
            command()
    assert not superlink.stopped


@pytest.mark.parametrize("ids", ['"17"', "[]", "[17]", '["../17"]'])
def test_damaged_ids_are_named(deployment: Deployment, ids: str) -> None:
    (deployment.operator / "runs.json").write_text(f'{{"first": {ids}}}')
    with pytest.raises(RunFolderError, match=r"runs\.json is damaged: first has no list of run ids"):
        flower.run_ids(deployment)
