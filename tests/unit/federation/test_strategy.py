"""The course of a round: whom it asks and for how long, when it counts, and what its record says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from flwr.app import Message

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import RoundError
from fedkd.federation.observers import Observer
from fedkd.records import Refusal, RoundRecord

Make = Callable[..., ExperimentConfig]
MASKED = {"enabled": True, "minimum_cohort": 2}
SECURITY = pytest.mark.parametrize("secure", [{}, MASKED], ids=["plain", "masked"])


def lost(*clients: int, server_round: int = 1) -> Callable[[int, Message], Message | None]:
    """Lose the answers of some clients to one round's instruction."""

    def on_the_way(client: int, reply: Message) -> Message | None:
        answers = (reply.metadata.message_type, reply.metadata.group_id) == ("train", str(server_round))
        return None if answers and client in clients else reply

    return on_the_way


@SECURITY
@pytest.mark.parametrize(("num_lost", "completed"), [(0, True), (1, True), (2, False)])
def test_as_many_replies_as_min_replies_complete_a_round(
    make_config: Make, federate: Any, secure: dict[str, Any], num_lost: int, completed: bool
) -> None:
    """Of five clients four must reply; a masked sum is possible of three."""
    config = make_config(
        run={"rounds": 2},
        clients={"number": 5, "min_replies": 4},
        secure_aggregation=secure,
    )
    _, record = federate(config, to_server=lost(*range(num_lost), server_round=2)).result.history
    assert record.completed == completed
    assert (record.distillation is not None) == completed
    assert record.replied == tuple(range(num_lost, 5))
    assert record.late == tuple(range(num_lost))


@SECURITY
def test_a_run_in_which_no_round_counts_fails_and_names_the_last(
    make_config: Make, federate: Any, secure: dict[str, Any]
) -> None:
    config = make_config(clients={"min_replies": 4}, secure_aggregation=secure)
    with pytest.raises(RoundError, match=r"no round had 4 usable replies: in round 1, .*1 came late"):
        federate(config, to_server=lost(2))


@SECURITY
def test_clients_are_drawn_anew_for_every_round(make_config: Make, federate: Any, secure: dict[str, Any]) -> None:
    def drawn(seed: int) -> list[tuple[int, ...]]:
        config = make_config(
            run={"rounds": 4, "seed": seed},
            clients={"number": 8, "fraction_train": 0.5},
            data={"train_size": 160},
            secure_aggregation=secure,
        )
        result, grid = federate(config)
        for record in result.history:
            assert sorted(grid.asked(record.server_round)) == list(record.selected)
        return [record.selected for record in result.history]

    rounds = drawn(seed=0)
    assert {len(clients) for clients in rounds} == {4}
    assert all(list(clients) == sorted(set(clients)) for clients in rounds)
    assert len(set(rounds)) > 1
    assert drawn(seed=0) == rounds != drawn(seed=1)


@pytest.mark.parametrize("method", ["fkd", "feddf"])
def test_the_order_in_which_replies_arrive_changes_no_bit(
    make_config: Make, federate: Any, same_bits: Any, method: str
) -> None:
    config = make_config(run={"rounds": 2}, clients={"models": ["mlp", "cnn"]}, method={"name": method})
    expected, _ = federate(config)
    for order in ({"reverse": True}, {"shuffle_seed": 3}, {"shuffle_seed": 3, "reverse": True}):
        result, _ = federate(config, **order)
        assert same_bits(result.student, expected.student)
        assert [record.replied for record in result.history] == [(0, 1, 2, 3)] * 2
        for ours, theirs in zip(result.history, expected.history, strict=True):
            assert ours.clients == theirs.clients
            assert ours.train_loss == theirs.train_loss


@SECURITY
def test_no_client_is_waited_for_longer_than_the_deadline(
    make_config: Make, federate: Any, secure: dict[str, Any]
) -> None:
    grid = federate(make_config(clients={"deadline": 77.0}, secure_aggregation=secure)).grid
    assert len(grid.timeouts) >= 2
    assert set(grid.timeouts) == {77.0}


class Hearing(Observer):
    """Writes down what it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_clients(self, clients: Sequence[int], refused: Sequence[Refusal]) -> None:
        self.heard.append(("clients", tuple(clients), tuple(refused)))

    def on_phase(self, server_round: int, phase: str) -> None:
        self.heard.append((phase, server_round))

    def on_reply(self, server_round: int, replies: int, expected: int) -> None:
        self.heard.append(("reply", server_round, replies, expected))

    def on_round(self, record: RoundRecord) -> None:
        self.heard.append(("round", record.server_round))


@SECURITY
def test_observers_hear_of_clients_replies_phases_and_rounds_in_order(
    make_config: Make, federate: Any, secure: dict[str, Any]
) -> None:
    hearing = Hearing()
    config = make_config(run={"rounds": 2}, secure_aggregation=secure)
    federate(config, observer=hearing, to_server=lost(3, server_round=2))
    assert hearing.heard == [
        ("clients", (0, 1, 2, 3), ()),
        *[("training", 1), *(("reply", 1, count, 4) for count in (1, 2, 3, 4)), ("distillation", 1), ("round", 1)],
        *[("training", 2), *(("reply", 2, count, 4) for count in (1, 2, 3)), ("distillation", 2), ("round", 2)],
    ]


@SECURITY
def test_every_client_that_was_asked_is_in_one_list_of_the_record(
    make_config: Make, federate: Any, secure: dict[str, Any]
) -> None:
    """With seed 29, one or two clients of ten drop out or straggle in each round; replies arrive backwards."""
    config = make_config(
        run={"rounds": 3, "seed": 29},
        clients={"number": 10, "dropout_rate": 0.2, "straggler_rate": 0.2},
        data={"train_size": 200},
        secure_aggregation=secure,
    )
    history = federate(config, reverse=True).result.history
    assert any(len(record.dropped) > 1 for record in history)
    assert any(len(record.late) > 1 for record in history)
    for record in history:
        lists = (record.replied, record.dropped, record.late)
        assert all(list(clients) == sorted(clients) for clients in lists)
        assert sorted(sum(lists, ())) == list(record.selected) == list(range(10))


def is_traffic_of(num_bytes: int, replies: int, bytes_per_logit: int) -> bool:
    """Whether bytes are those of logits of 24 samples and 10 classes, and of at most 264 bytes of headers and scale a
    reply.
    """
    logits = replies * 24 * 10 * bytes_per_logit
    return logits < num_bytes <= logits + replies * 264


def test_bytes_are_those_of_what_was_sent_and_used(make_config: Make, federate: Any, payloads: Any) -> None:
    """Down: every array of every instruction. Up: the logits of the replies that count; neither a lost reply nor the
    answers on the test split, which are of the measurement.
    """
    config = make_config(run={"rounds": 2}, clients={"models": ["mlp", "cnn"]})
    result, grid = federate(config, to_server=lost(3, server_round=2))
    for record, replies in zip(result.history, (4, 3), strict=True):
        arrays = [payloads.arrays(message).values() for message in grid.asked(record.server_round).values()]
        assert record.bytes.down == sum(len(data) for each in arrays for data in each)
        assert is_traffic_of(record.bytes.up, replies, 4)


def test_a_refused_reply_adds_no_bytes(make_config: Make, federate: Any, payloads: Any) -> None:
    def of_another_round(client: int, reply: Message) -> Message:
        is_training = reply.metadata.message_type == "train"
        return payloads.change(reply, server_round=7) if client == 2 and is_training else reply

    (record,) = federate(make_config(), to_server=of_another_round).result.history
    assert record.replied == (0, 1, 3)
    assert is_traffic_of(record.bytes.up, 3, 4)


@pytest.mark.parametrize(("encoding", "size"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_bytes_up_shrink_with_the_encoding(make_config: Make, federate: Any, encoding: str, size: int) -> None:
    (record,) = federate(make_config(payload={"encoding": encoding})).result.history
    assert is_traffic_of(record.bytes.up, 4, size)


def test_a_masked_round_counts_the_bytes_of_all_its_stages(make_config: Make, federate: Any) -> None:
    """The largest part is each client's vector: 32 bits a value on public and on test samples; these count apart."""
    (record,) = federate(make_config(secure_aggregation=MASKED)).result.history
    assert record.bytes.evaluation == 4 * 40 * 10 * 4
    assert record.bytes.up + record.bytes.evaluation == sum(record.secure_sum.bytes_up.values())
    assert record.bytes.down == sum(record.secure_sum.bytes_down.values())
    assert min(record.secure_sum.bytes_up.values()) > 0
    assert record.secure_sum.bytes_up["mask"] > 4 * (24 + 40) * 10 * 4


@SECURITY
def test_the_clipped_share_is_the_mean_over_the_clients(
    make_config: Make, federate: Any, secure: dict[str, Any]
) -> None:
    """Clients 0 and 1 answer 100 for three classes of ten, clients 2 and 3 stay within ±5: (0.3 + 0.3 + 0 + 0) / 4."""

    def answer(client: int, logits_NC: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.arange(10) < 3, 100.0 if client < 2 else 4.0, 0.0).expand(len(logits_NC), 10).clone()

    config = make_config(payload={"clipping_range": 5.0}, secure_aggregation=secure)
    (record,) = federate(config, answer=answer).result.history
    assert record.clipped_fraction == pytest.approx(0.15)


def test_losses_and_seconds_are_those_of_the_clients_that_counted(
    make_config: Make, federate: Any, payloads: Any
) -> None:
    """A mean of losses and sums of seconds over clients 0, 1 and 3; the reply of client 2 is lost."""

    def report(client: int, reply: Message) -> Message | None:
        if reply.metadata.message_type != "train":
            return reply
        seconds = {"training_seconds": 10.0, "public_inference_seconds": 20.0, "evaluation_seconds": 40.0}
        return None if client == 2 else payloads.change(reply, metrics=seconds | {"train_loss": float(client)})

    (record,) = federate(make_config(), to_server=report).result.history
    assert record.train_loss == pytest.approx(4 / 3)
    assert record.seconds.local_training == 30.0
    assert record.seconds.public_inference == 60.0
    assert 120.0 < record.seconds.evaluation < 130.0
    assert record.seconds.aggregation > 0
    assert record.seconds.distillation > 0
    server_seconds = record.seconds.aggregation + record.seconds.distillation + record.seconds.evaluation - 120.0
    assert server_seconds < record.seconds.total


def test_the_masked_loss_is_the_mean_over_the_clients_to_a_thousandth(make_config: Make, federate: Any) -> None:
    plain, masked = (federate(make_config(secure_aggregation=secure)).result.history[0] for secure in ({}, MASKED))
    assert plain.train_loss is not None
    assert plain.train_loss > 1
    assert masked.train_loss == pytest.approx(plain.train_loss, abs=1e-3)
