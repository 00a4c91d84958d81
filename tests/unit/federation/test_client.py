"""A client as Flower sees it: messages and a context in, replies and the context's state out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from flwr.app import Context, Message, RecordDict

from fedkd.config.experiment import ExperimentConfig
from fedkd.engines.absence import app, simulated_absence
from fedkd.engines.simulation import run_config_of
from fedkd.errors import PayloadError
from fedkd.federation.client import Client
from fedkd.federation.client_app import build_client_app, compose_client
from fedkd.federation.messages import (
    HELLO,
    TRAIN,
    Told,
    TrainInstruction,
    hello_from_records,
    instruction_to_records,
    reply_from_records,
)
from fedkd.federation.weights import read_weights
from fedkd.federation.workspace import Workspace, open_workspace
from fedkd.flower.internals import task_identity

Make = Callable[..., ExperimentConfig]
INSTRUCTION = TrainInstruction(
    server_round=1, asked_N=np.arange(24, dtype=np.int32), weights=None, told=None, evaluate=True
)


@pytest.fixture(autouse=True)
def _server() -> Iterator[None]:
    """Messages are made in the server's name."""
    with task_identity(run_id=1, node_id=0):
        yield


def context_of(config: ExperimentConfig, client: int = 0) -> Context:
    return Context(1, client + 1, {"partition-id": client}, RecordDict(), run_config_of(config))


def ask(context: Context, instruction: TrainInstruction = INSTRUCTION, client_app: Any = app) -> Message:
    """A client's reply to an instruction."""
    return client_app(Message(instruction_to_records(instruction), context.node_id, TRAIN), context)


def kept(context: Context) -> dict[str, bytes]:
    """What a client keeps, as bytes by name."""
    return {
        f"{name}/{key}": array.data
        for name, record in context.state.array_records.items()
        for key, array in record.items()
    }


def student_of(config: ExperimentConfig, seed: int = 9) -> dict[str, np.ndarray]:
    return read_weights(open_workspace(config).build_model("mlp", seed))


def on_data_of_client_0(context: Context) -> Client:
    """A client that trains on the samples of client 0, whoever it is."""
    client = compose_client(context)

    class SameData(Workspace):
        def client(self, client: int) -> tuple[torch.Tensor, torch.Tensor]:
            return super().client(0 * client)

    return replace(client, workspace=SameData(client.workspace.data, client.workspace.device))


def test_a_client_says_who_it_is_and_what_it_holds(make_config: Make) -> None:
    config = make_config(clients={"models": ["mlp", "cnn"]})
    for client, architecture in ((0, "mlp"), (3, "cnn")):
        context = context_of(config, client)
        hello = hello_from_records(app(Message(RecordDict(), context.node_id, HELLO), context).content)
        assert (hello.client, hello.architecture, hello.num_classes) == (client, architecture, 10)
        assert hello.public_digest == open_workspace(config).data.public_digest


def test_answers_are_clipped_on_public_samples_and_on_the_test_split(make_config: Make, payloads: Any) -> None:
    """Logits of a fresh model spread beyond ±0.05; with a range of 1000 nothing is clipped."""
    wide, narrow = (ask(context_of(make_config(payload={"clipping_range": each}))) for each in (1000.0, 0.05))
    for read in (payloads.answers, payloads.test_answers):
        logits_NC = read(wide)
        assert np.abs(logits_NC).max() > 0.1
        np.testing.assert_array_equal(read(narrow), logits_NC.clip(-0.05, 0.05))
    share = np.mean(np.abs(payloads.answers(wide)) > 0.05)
    assert payloads.reply(narrow).metrics.clipped_fraction == pytest.approx(share)
    assert payloads.reply(wide).metrics.clipped_fraction == 0


def test_a_client_answers_the_test_split_only_where_it_is_asked_to(make_config: Make, payloads: Any) -> None:
    config = make_config()
    measured, unmeasured = (
        ask(context_of(config), replace(INSTRUCTION, evaluate=evaluate)) for evaluate in (True, False)
    )
    assert payloads.test_answers(measured).shape == (40, 10)
    assert payloads.test_answers(unmeasured) is None
    np.testing.assert_array_equal(payloads.answers(measured), payloads.answers(unmeasured))


def test_a_client_answers_the_public_samples_it_is_asked_for(make_config: Make, payloads: Any) -> None:
    config, some = make_config(), np.array([3, 5, 17], np.int32)
    all_NC = payloads.answers(ask(context_of(config)))
    some_NC = payloads.answers(ask(context_of(config), replace(INSTRUCTION, asked_N=some)))
    np.testing.assert_allclose(some_NC, all_NC[some], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("outside", [-1, 24])
def test_a_public_sample_that_a_client_does_not_hold_is_refused(make_config: Make, outside: int) -> None:
    with pytest.raises(PayloadError, match=f"public index {outside}; this side holds 24"):
        ask(context_of(make_config()), replace(INSTRUCTION, asked_N=np.sort([0, outside]).astype(np.int32)))


def test_local_training_is_drawn_by_seed_client_and_round(make_config: Make, payloads: Any) -> None:
    """Same samples, same first weights: what differs is the order of the batches."""
    config = make_config()
    same_data = build_client_app(on_data_of_client_0)
    student = replace(INSTRUCTION, weights=student_of(config))

    def answers(server_round: int = 1, client: int = 0, seed: int = 0) -> bytes:
        other_seed = config.model_copy(update={"run": config.run.model_copy(update={"seed": seed})})
        instruction = replace(student, server_round=server_round)
        return bytes(payloads.answers(ask(context_of(other_seed, client), instruction, same_data)))

    expected = answers()
    assert answers() == expected
    assert answers(server_round=2) != expected
    assert answers(client=1) != expected
    assert answers(seed=1) != expected


def test_learning_from_the_teacher_is_drawn_by_seed_client_and_round(make_config: Make, payloads: Any) -> None:
    """Without local epochs and in the second round, all that a client does is to learn from the teacher."""
    config = make_config(
        method={"name": "fedmd", "local_distillation": {"batch_size": 8, "learning_rate": 0.01}}, training={"epochs": 0}
    )
    teacher_NC = np.random.default_rng(0).normal(size=(24, 10)).astype(np.float32)
    learn = replace(INSTRUCTION, told=Told(INSTRUCTION.asked_N, 10, {"values": teacher_NC}))
    first = context_of(config)
    ask(first)

    def answers(server_round: int, client: int = 0) -> bytes:
        context = context_of(config, client)
        context.state = RecordDict({name: record.copy() for name, record in first.state.items()})
        return bytes(payloads.answers(ask(context, replace(learn, server_round=server_round))))

    expected = answers(2)
    assert answers(2) == expected
    assert answers(3) != expected
    assert answers(2, client=1) != expected


def test_a_client_moves_towards_the_teacher_before_it_trains(make_config: Make, payloads: Any) -> None:
    config = make_config(
        method={"name": "fedmd", "local_distillation": {"epochs": 30, "learning_rate": 0.01}}, training={"epochs": 0}
    )
    teacher_NC = np.eye(10, dtype=np.float32)[np.arange(24) % 10] * 4
    learn = replace(INSTRUCTION, told=Told(INSTRUCTION.asked_N, 10, {"values": teacher_NC}))
    before, after = (payloads.answers(ask(context_of(config), each)) for each in (INSTRUCTION, learn))
    assert np.abs(after - teacher_NC).mean() < 0.9 * np.abs(before - teacher_NC).mean()


HARD = {"data": {"public": {"size": 24, "labelled": True}}, "objective": {"alpha": 0.5}}


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({}, {"objective": {"temperature": 4.0}}),
        (HARD, {"objective": {"alpha": 0.1}}),
        (HARD, {"objective": {"label_smoothing": 0.3}}),
        ({}, {"epochs": 2}),
        ({}, {"objective": {"terms": [{"loss": "distance"}]}}),
    ],
    ids=lambda value: ",".join(value),
)
def test_every_setting_of_learning_from_the_teacher_reaches_the_client(
    make_config: Make, payloads: Any, base: dict[str, Any], change: dict[str, Any]
) -> None:
    def answers(objective: dict[str, Any] | None = None, **local: Any) -> bytes:
        minimised = {"loss": "kl"} | base.get("objective", {}) | (objective or {})
        method = {"name": "fedmd", "local_distillation": local | {"objective": minimised}}
        config = make_config(data=base.get("data", {}), method=method, training={"epochs": 0})
        teacher_NC = np.random.default_rng(0).normal(size=(24, 10)).astype(np.float32)
        learn = replace(INSTRUCTION, told=Told(INSTRUCTION.asked_N, 10, {"values": teacher_NC}))
        return bytes(payloads.answers(ask(context_of(config), learn)))

    assert answers() == answers()
    assert answers() != answers(**change)


def test_the_loss_is_that_of_the_last_local_epoch(make_config: Make, payloads: Any) -> None:
    """It falls with the epochs, on the few samples of a client."""
    losses = [
        payloads.reply(ask(context_of(make_config(training={"epochs": epochs})))).metrics.train_loss
        for epochs in (1, 20)
    ]
    assert losses[1] < 0.7 * losses[0]


def test_first_models_differ_by_client_and_seed(make_config: Make, payloads: Any) -> None:
    def answers(client: int, seed: int = 0) -> bytes:
        config = make_config(run={"seed": seed}, method={"name": "fedmd"}, training={"epochs": 0})
        return bytes(payloads.answers(ask(context_of(config, client))))

    assert answers(0) == answers(0)
    assert len({answers(0), answers(1), answers(2)}) == 3

    workspaces = [compose_client(context_of(make_config(run={"seed": seed}))).initial_model() for seed in (0, 1)]
    first, second = (read_weights(model) for model in workspaces)
    assert any(first[key].tobytes() != second[key].tobytes() for key in first)


def test_a_client_without_a_server_model_goes_on_with_its_own(make_config: Make, payloads: Any) -> None:
    """Round 2 on what is kept is not round 2 of a client that was never asked; the model is kept with its training."""
    config = make_config(method={"name": "fedmd"})
    veteran, newcomer = context_of(config), context_of(config)
    ask(veteran)
    after_one = kept(veteran)
    second = replace(INSTRUCTION, server_round=2)
    assert bytes(payloads.answers(ask(veteran, second))) != bytes(payloads.answers(ask(newcomer, second)))
    assert after_one
    assert kept(veteran) != after_one
    once_more = context_of(config)
    ask(once_more)
    assert kept(once_more) == after_one


def test_a_client_that_gets_the_student_every_round_keeps_no_model(make_config: Make) -> None:
    config = make_config(clients={"models": ["mlp", "cnn"]})
    alike, other = context_of(config, 0), context_of(config, 1)
    ask(alike, replace(INSTRUCTION, weights=student_of(config)))
    ask(other)
    assert not kept(alike)
    assert kept(other)


@pytest.mark.parametrize("method", ["feddf", "fedavg"])
def test_a_client_whose_weights_travel_sends_its_trained_model_and_no_logits(
    make_config: Make, payloads: Any, same_bits: Any, method: str
) -> None:
    config = make_config(method={"name": method})
    adopted = student_of(config)
    reply = ask(context_of(config), replace(INSTRUCTION, weights=adopted, evaluate=False))
    assert payloads.reply(reply).rows is None
    assert not same_bits(payloads.weights_up(reply), adopted)
    still = make_config(method={"name": method}, training={"epochs": 0})
    assert same_bits(payloads.weights_up(ask(context_of(still), replace(INSTRUCTION, weights=adopted))), adopted)


def test_the_proximal_term_keeps_a_client_near_the_model_it_adopted(make_config: Make, payloads: Any) -> None:
    """FedProx (Li et al. 2020): the larger mu, the shorter the way from the server's model."""

    def distance(**method: Any) -> float:
        config = make_config(method=method, training={"epochs": 5})
        adopted = student_of(config)
        sent = payloads.weights_up(ask(context_of(config), replace(INSTRUCTION, weights=adopted, evaluate=False)))
        return float(np.sqrt(sum(np.square(sent[key] - adopted[key]).sum() for key in adopted)))

    free = distance(name="fedavg")
    assert distance(name="fedprox", proximal_mu=0.0) == pytest.approx(free)
    assert distance(name="fedprox", proximal_mu=5.0) < 0.8 * free


def test_a_reply_names_client_round_public_set_and_number_of_examples(make_config: Make, payloads: Any) -> None:
    config = make_config()
    reply = payloads.reply(ask(context_of(config, 2), replace(INSTRUCTION, server_round=5)))
    assert (reply.client, reply.server_round) == (2, 5)
    assert reply.public_digest == open_workspace(config).data.public_digest
    assert reply.metrics.num_examples == len(open_workspace(config).data.client(2).labels_N)
    assert reply.metrics.train_loss > 0.1
    for seconds in ("training_seconds", "public_inference_seconds", "evaluation_seconds"):
        assert 0 < getattr(reply.metrics, seconds) < 60


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_logits_that_are_not_finite_do_not_leave_a_client(make_config: Make, federate: Any, value: float) -> None:
    """They are refused by the client itself, not made a number by clipping."""

    def answer(client: int, logits_NC: torch.Tensor) -> torch.Tensor:
        return logits_NC.index_fill(1, torch.tensor([3]), value) if client == 2 else logits_NC

    (record,) = federate(make_config(), answer=answer).result.history
    assert record.replied == (0, 1, 3)
    (refusal,) = record.refused
    assert (refusal.client, refusal.reason) == (2, "client_error")
    assert "NaN or infinity" in refusal.detail


def test_a_client_that_drops_out_does_no_work_and_a_late_one_does_it_all(make_config: Make) -> None:
    """What a client keeps after its first round shows whether it has trained."""
    config = make_config(
        method={"name": "fedmd"},
        clients={"number": 20, "dropout_rate": 0.3, "straggler_rate": 0.3},
        data={"train_size": 200},
    )
    kinds = {simulated_absence(config, client, 1): client for client in range(20)}
    assert set(kinds) == {None, "dropped", "late"}
    for kind, client in kinds.items():
        context = context_of(config, client)
        reply = reply_from_records(ask(context).content)
        assert getattr(reply, "kind", None) == kind
        assert bool(kept(context)) == (kind != "dropped")


def test_simulated_absence_is_drawn_by_seed_client_and_round(make_config: Make) -> None:
    config = make_config(clients={"dropout_rate": 0.3, "straggler_rate": 0.3})
    other = make_config(run={"seed": 1}, clients={"dropout_rate": 0.3, "straggler_rate": 0.3})
    by_client = [simulated_absence(config, client, 1) for client in range(30)]
    assert by_client == [simulated_absence(config, client, 1) for client in range(30)]
    assert by_client != [simulated_absence(other, client, 1) for client in range(30)]
    assert by_client != [simulated_absence(config, client, 2) for client in range(30)]
    assert by_client != [simulated_absence(config, 1, server_round) for server_round in range(30)]


def test_a_setting_that_the_server_has_chosen_is_the_one_that_clients_learn_at(
    make_config: Make, payloads: Any
) -> None:
    """The client comes to the bits to which it would have come had the setting been configured."""

    def answers(setting: tuple[float, float] | None, temperature: float) -> bytes:
        objective = {"loss": "kl", "temperature": temperature}
        config = make_config(
            method={"name": "fedmd", "local_distillation": {"objective": objective}}, training={"epochs": 0}
        )
        teacher_NC = np.random.default_rng(0).normal(size=(24, 10)).astype(np.float32)
        told = Told(INSTRUCTION.asked_N, 10, {"values": teacher_NC})
        return bytes(payloads.answers(ask(context_of(config), replace(INSTRUCTION, told=told, setting=setting))))

    assert answers((4.0, 1.0), 1.0) == answers(None, 4.0) != answers(None, 1.0)
