"""What leaves a site is what the simulation's client would send; what its policy does not allow does not leave."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict

from fedkd.config.experiment import ExperimentConfig, parse_config
from fedkd.engines.simulation import simulate
from fedkd.errors import RoundError
from fedkd.federation.messages import TrainInstruction, instruction_to_records
from fedkd.federation.observers import Observer
from fedkd.federation.server_app import FederationResult
from fedkd.flower.app_bundle import EXPERIMENT_KEY, bundle
from fedkd.flower.internals import set_message_id, task_identity
from fedkd.payload.rows import PUBLIC_ANSWERS
from fedkd.site.handler import MessageHandler
from fedkd.site.settings import SiteConfig

Sites = Callable[..., SiteConfig]
MakeHandler = Callable[[SiteConfig], MessageHandler]
Federate = Callable[..., FederationResult]


def bits(result: FederationResult) -> dict[str, bytes]:
    assert result.student is not None
    return {name: array.tobytes() for name, array in result.student.items()}


def audit(site: SiteConfig) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (site.state_path / "audit.jsonl").read_text().splitlines()]


def changed(config: ExperimentConfig, **sections: dict[str, Any]) -> ExperimentConfig:
    values = config.model_dump(mode="json")
    for section, changes in sections.items():
        values[section] = changes if section == "method" else values[section] | changes
    return parse_config(values)


def refusal(federate: Federate, config: ExperimentConfig, handler: MessageHandler, sent: bytes | None = None) -> str:
    """What the server is told when none of three clients, all with one handler, takes part."""
    with pytest.raises(RoundError) as caught:
        federate(config, [handler] * 3, sent)
    return str(caught.value)


def test_sites_give_the_bits_of_the_simulation(
    simulated: ExperimentConfig,
    deployed: ExperimentConfig,
    make_site: Sites,
    make_handler: MakeHandler,
    federate: Federate,
) -> None:
    sites = [make_site(client) for client in range(3)]
    result = federate(deployed, [make_handler(site) for site in sites])
    assert bits(result) == bits(simulate(simulated, Observer()))
    lines = audit(sites[0])
    assert [(line["asked"], line["round"], line["released"]) for line in lines] == [
        ("query.hello", None, "introduction"),
        ("train", 1, PUBLIC_ANSWERS),
        ("train", 2, PUBLIC_ANSWERS),
    ]
    assert [line["public_samples"] for line in lines] == [0, 20, 20]
    assert all(line["bytes"] > 0 and len(line["sha256"]) == 64 for line in lines)


def test_a_masked_sum_over_sites(
    deployed: ExperimentConfig, make_site: Sites, make_handler: MakeHandler, federate: Federate
) -> None:
    policy = {"require_secure_aggregation": True, "minimum_cohort": 3}
    sites = [make_site(client, policy=policy) for client in range(3)]
    masked = changed(deployed, secure_aggregation={"enabled": True}, run={"rounds": 1})
    (record,) = federate(masked, [make_handler(site) for site in sites]).history
    assert record.replied == (0, 1, 2)
    released = [line["released"] for line in audit(sites[0])]
    assert f"masked {PUBLIC_ANSWERS}" in released
    assert PUBLIC_ANSWERS not in released
    kept = sites[0].state_path / "run"
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept.rglob("*"))


def test_a_client_goes_on_where_it_was_stopped(
    simulated: ExperimentConfig,
    deployed: ExperimentConfig,
    make_site: Sites,
    make_handler: MakeHandler,
    federate: Federate,
) -> None:
    """FedMD's clients keep their models: a handler that is made anew for each message finds them on disk."""
    fedmd = changed(deployed, method={"name": "fedmd"}, run={"rounds": 2})
    sites = [make_site(client) for client in range(3)]

    class Restarting(MessageHandler):
        def __init__(self, site: SiteConfig) -> None:
            self._site = site

        def answer(self, *asked: Any) -> Any:
            return make_handler(self._site).answer(*asked)

    result = federate(fedmd, [Restarting(site) for site in sites])
    expected = simulate(changed(simulated, method={"name": "fedmd"}, run={"rounds": 2}), Observer())
    assert [record.train_loss for record in result.history] == [record.train_loss for record in expected.history]


def test_another_bundle_is_refused(
    deployed: ExperimentConfig, make_site: Sites, make_handler: MakeHandler, federate: Federate
) -> None:
    tampered = bundle() + b"\0"
    site = make_site()
    told = refusal(federate, deployed, make_handler(site), tampered)
    assert "policy: client 0: PolicyError: allowed_bundles: the app's bundle has SHA-256 " in told
    assert hashlib.sha256(tampered).hexdigest()[:16] in told
    assert all("allowed_bundles" in line["refused"] for line in audit(site))


def test_a_bundle_that_the_policy_names_is_served(
    deployed: ExperimentConfig, make_site: Sites, make_handler: MakeHandler, federate: Federate
) -> None:
    other = bundle() + b"\0"
    policy = {"allowed_bundles": [hashlib.sha256(other).hexdigest()]}
    handlers = [make_handler(make_site(client, policy=policy)) for client in range(3)]
    assert federate(deployed, handlers, other).history[-1].completed


@pytest.mark.parametrize(
    ("policy", "sections", "words"),
    [
        ({"require_secure_aggregation": True}, {}, "require_secure_aggregation: the server would see"),
        ({"minimum_cohort": 2}, {}, "minimum_cohort: the server would see"),
        ({"minimum_cohort": 3}, {"secure_aggregation": {"enabled": True, "minimum_cohort": 2}}, "minimum_cohort is 2"),
        ({}, {"method": {"name": "fedavg"}}, "allow_weights: fedavg sends the weights of the model"),
        ({"maximum_queries_per_round": 19}, {}, "maximum_queries_per_round: 20 public samples in a round; at most 19"),
    ],
)
def test_what_the_policy_does_not_allow_is_refused(
    policy: dict[str, Any],
    sections: dict[str, Any],
    words: str,
    deployed: ExperimentConfig,
    make_site: Sites,
    make_handler: MakeHandler,
    federate: Federate,
) -> None:
    site = make_site(policy=policy)
    told = refusal(federate, changed(deployed, **sections), make_handler(site))
    assert words in told
    assert told.isprintable()
    assert words in audit(site)[-1]["refused"]
    assert not any(line.get("released") in {PUBLIC_ANSWERS, "model weights"} for line in audit(site))


def test_rounds_are_counted_over_the_life_of_the_state(
    deployed: ExperimentConfig, make_site: Sites, make_handler: MakeHandler, federate: Federate
) -> None:
    sites = [make_site(0, policy={"maximum_rounds": 1}), make_site(1), make_site(2)]
    first, second = federate(deployed, [make_handler(site) for site in sites]).history
    assert (first.replied, second.replied) == ((0, 1, 2), (1, 2))
    (refused,) = second.refused
    assert (refused.client, refused.reason) == (0, "policy")
    assert "maximum_rounds: this is round 2 here; at most 1" in refused.detail
    again = federate(changed(deployed, run={"rounds": 1}), [make_handler(site) for site in sites])
    assert again.history[0].replied == (1, 2)  # a new handler remembers


@pytest.mark.parametrize("key", ["method.name", "student.model", "clients.models"])
def test_code_by_an_import_path_is_not_even_looked_for(
    key: str, deployed: ExperimentConfig, make_site: Sites, make_handler: MakeHandler
) -> None:
    values = deployed.model_dump(mode="json")
    section, name = key.split(".")
    values[section][name] = ["no_such:thing"] if name == "models" else "no_such:thing"
    with task_identity(1, 0):
        message = Message(RecordDict(), 1, "query.hello")
        set_message_id(message, "1")
        context = Context(1, 1, {}, RecordDict(), {EXPERIMENT_KEY: json.dumps(values)})
        reply = make_handler(make_site()).answer(message, context, bundle())
    assert reply.has_error()
    assert f"own_code: {key} = 'no_such:thing' is an import path" in str(reply.error.reason)


def test_an_experiment_of_another_federation_is_refused(
    simulated: ExperimentConfig,
    deployed: ExperimentConfig,
    make_site: Sites,
    make_handler: MakeHandler,
    federate: Federate,
) -> None:
    assert "data.source: 'digits'; at a site it is 'sites'" in refusal(federate, simulated, make_handler(make_site()))
    other = make_handler(make_site(num_clients=4))
    assert "num_clients: clients.number is 3; here it is 4" in refusal(federate, deployed, other)


def test_names_of_a_sites_files_stay_at_the_site(
    deployed: ExperimentConfig, make_site: Sites, make_handler: MakeHandler
) -> None:
    labelled = deployed.data.public.model_copy(update={"labelled": True})
    needs_labels = changed(deployed, data={"public": labelled.model_dump()})
    site = make_site()
    with task_identity(1, 0):
        message = Message(RecordDict(), 1, "query.hello")
        set_message_id(message, "1")
        context = Context(1, 1, {}, RecordDict(), {EXPERIMENT_KEY: needs_labels.model_dump_json()})
        told = str(make_handler(site).answer(message, context, bundle()).error.reason)
    assert "DataError; see the log of this site" in told
    assert str(Path(site.private)) not in told


def test_a_site_with_another_public_set_takes_no_part(
    deployed: ExperimentConfig, make_site: Sites, make_handler: MakeHandler, federate: Federate, trial: Path
) -> None:
    elsewhere = str(trial / "client-1" / "private")
    handlers = [make_handler(make_site(0, public=elsewhere)), make_handler(make_site(1)), make_handler(make_site(2))]
    (record, *_) = federate(deployed, handlers).history
    assert record.selected == (1, 2)


def test_a_message_that_cannot_be_unpacked_is_refused_and_an_unpacked_one_gets_an_unpacked_reply(
    deployed: ExperimentConfig, make_site: Sites, make_handler: MakeHandler
) -> None:
    site = make_site()
    context = Context(1, 1, {}, RecordDict(), {EXPERIMENT_KEY: deployed.model_dump_json()})
    instruction = TrainInstruction(1, np.arange(20, dtype=np.int32), None, None, evaluate=False)
    with task_identity(1, 1):
        broken, whole = (
            Message(content, 5, "train", group_id="1")
            for content in (
                RecordDict({"packed-0": ConfigRecord({"records": b"?"})}),
                instruction_to_records(instruction),
            )
        )
        for message in (broken, whole):
            set_message_id(message, "m")
        handler = make_handler(site)
        refused, answered = (handler.answer(message, context, bundle()) for message in (broken, whole))
    assert "PayloadError: malformed: the packed message cannot be read" in refused.error.reason
    assert "rows" in answered.content.array_records
    assert ["refused" in line for line in audit(site)] == [True, False]
