"""Each reply is judged by itself: a bad one is refused and named, and the others make the round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import PayloadError
from fedkd.federation.messages import instruction_from_records
from fedkd.flower.internals import POLICY, with_error
from fedkd.payload import Codec, Rows

Make = Callable[..., ExperimentConfig]
ODD_ONE = 1


def with_nan(array: np.ndarray) -> np.ndarray:
    changed = array.copy()
    changed.flat[0] = np.nan
    return changed


@pytest.fixture
def refusal_of(make_config: Make, federate: Any, payloads: Any) -> Callable[..., tuple[str, str]]:
    """Run a round in which one client's reply has other fields; returns why it was refused: reason and detail."""

    def run(fields: Callable[[Message], dict[str, Any]], **sections: Any) -> tuple[str, str]:
        def change(client: int, reply: Message) -> Message:
            if client != ODD_ONE or reply.metadata.message_type != "train":
                return reply
            return payloads.change(reply, **fields(reply))

        (record,) = federate(make_config(**sections), to_server=change).result.history
        assert record.completed
        assert record.replied == (0, 2, 3)
        (refusal,) = record.refused
        assert refusal.client == ODD_ONE
        return refusal.reason, refusal.detail

    return run


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"client": 2}, "sender", "of client 2; its node is client 1"),
        ({"server_round": 2}, "round", "to round 2; this is round 1"),
        ({"server_round": 0}, "round", "to round 0"),
        ({"public_digest": "0" * 64}, "public_digest", "000000"),
        ({"version": "0.0.0"}, "version", "0.0.0"),
        ({"metrics": {"num_examples": 0}}, "examples", "num_examples = 0"),
        ({"rows": None}, "missing", "no rows"),
        ({"test_logits": None}, "missing", "test split"),
    ],
)
def test_a_reply_with_a_wrong_field_is_refused(
    refusal_of: Any, fields: dict[str, Any], reason: str, detail: str
) -> None:
    given_reason, given_detail = refusal_of(lambda _: fields)
    assert given_reason == reason
    assert detail in given_detail


@pytest.mark.parametrize(
    "change",
    [with_nan, lambda z: z[:-1], lambda z: z[:, :-1], lambda z: z.astype(np.float64), lambda z: -np.inf * np.abs(z)],
    ids=["NaN", "samples", "classes", "dtype", "infinity"],
)
def test_answers_on_the_test_split_are_as_strictly_checked(refusal_of: Any, payloads: Any, change: Any) -> None:
    reason, detail = refusal_of(lambda reply: {"test_logits": change(payloads.test_answers(reply))})
    assert reason == "shape"
    assert "finite float32(40, 10)" in detail


def test_answers_on_the_test_split_that_nobody_asked_for_are_left_alone(
    make_config: Make, federate: Any, payloads: Any
) -> None:
    def volunteer(client: int, reply: Message) -> Message:
        if reply.metadata.message_type != "train":
            return reply
        return payloads.change(reply, test_logits=np.full((1, 2), np.nan, np.float32))

    config = make_config(run={"rounds": 2, "evaluate_clients_every": 9})
    first, _ = federate(
        config, to_server=lambda c, r: volunteer(c, r) if r.metadata.group_id == "1" else r
    ).result.history
    assert first.replied == (0, 1, 2, 3)
    assert first.clients.mean_accuracy is None


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        (lambda array: with_nan(array), "not_finite", "NaN or infinity"),
        (lambda array: array.astype(np.float64), "shape", "float64"),
        (lambda array: array[..., :-1], "shape", "weights"),
        (lambda array: np.full_like(array, 3e38), "not_finite", "logits that are not finite"),
    ],
    ids=["NaN", "dtype", "shape", "overflow"],
)
@pytest.mark.parametrize("method", ["feddf", "fedavg"])
def test_weights_that_cannot_be_used_are_refused(
    refusal_of: Any, payloads: Any, method: str, change: Any, reason: str, detail: str
) -> None:
    def fields(reply: Message) -> dict[str, Any]:
        weights = payloads.weights_up(reply)
        return {"weights": {key: change(array) for key, array in weights.items()}}

    given_reason, given_detail = refusal_of(fields, method={"name": method})
    assert given_reason == reason
    assert detail in given_detail


def test_weights_of_another_architecture_are_refused(make_config: Make, federate: Any, payloads: Any) -> None:
    """Clients 0 and 2 are mlp, 1 and 3 cnn; client 1 sends what client 0 sent."""
    first: list[dict[str, np.ndarray]] = []

    def swap(client: int, reply: Message) -> Message:
        if reply.metadata.message_type == "train":
            first.append(payloads.weights_up(reply))
            return payloads.change(reply, weights=first[0]) if client == ODD_ONE else reply
        return reply

    config = make_config(method={"name": "feddf"}, clients={"models": ["mlp", "cnn"]})
    (record,) = federate(config, to_server=swap).result.history
    assert [(refusal.client, refusal.reason) for refusal in record.refused] == [(ODD_ONE, "shape")]


def test_refusals_are_in_the_order_of_clients_and_strangers_first(
    make_config: Make, federate: Any, payloads: Any
) -> None:
    """Replies arrive from client 3 to client 0; that of client 1 comes from the node of client 3, as a second."""
    kept: list[Message] = []

    def change(client: int, reply: Message) -> Message:
        if reply.metadata.message_type != "train":
            return reply
        kept.append(reply)
        if client == 1:
            return kept[0]
        return payloads.change(reply, server_round=9) if client in {0, 2} else reply

    (record,) = federate(make_config(), to_server=change, reverse=True).result.history
    assert [(refusal.client, refusal.reason) for refusal in record.refused] == [
        (None, "sender"),
        (0, "round"),
        (2, "round"),
    ]
    assert record.late == (1,)
    assert record.replied == (3,)


@pytest.mark.parametrize(("code", "reason"), [(POLICY, "policy"), (2, "client_error")])
def test_an_error_in_place_of_a_reply_is_refused_with_what_the_client_said(
    make_config: Make, federate: Any, code: int, reason: str
) -> None:
    def fail(client: int, reply: Message) -> Message:
        is_training = reply.metadata.message_type == "train"
        return with_error(reply, code, "no disk\nleft") if is_training and client == ODD_ONE else reply

    (record,) = federate(make_config(), to_server=fail).result.history
    assert [(each.client, each.reason, each.detail) for each in record.refused] == [(ODD_ONE, reason, "no disk left")]


def test_logits_beyond_the_range_count_as_those_at_the_range(
    make_config: Make, federate: Any, payloads: Any, same_bits: Any
) -> None:
    """The server clips what a client has not: ±1e30 teaches what ±30 does, and ±20 something else."""

    def student(value: float) -> dict[str, np.ndarray]:
        def lie(client: int, reply: Message) -> Message:
            if client != ODD_ONE or reply.metadata.message_type != "train":
                return reply
            signs = np.where(payloads.answers(reply) > 0, 1, -1).astype(np.float32)
            return payloads.change(reply, rows={"values": signs * np.float32(value)})

        return federate(make_config(), to_server=lie).result.student

    at_the_range = student(30.0)
    assert same_bits(student(1e30), at_the_range)
    assert not same_bits(student(20.0), at_the_range)


class Counting(Codec):
    """The values as they are; counts the messages that build on one another, and refuses another count than its own."""

    def encode(self, rows: Rows, memory: Any) -> Any:
        count = memory.get("count", np.zeros(1)) + 1
        return {"values": rows.values_ND, "count": count}, {"count": count}

    def decode(self, wire: Any, keys_N: Any, width: int, memory: Any) -> Any:
        count = memory.get("count", np.zeros(1)) + 1
        if wire["count"] != count:
            raise PayloadError("parted", f"{wire['count']}; {count}")
        return wire["values"], {"count": count}


def test_a_refused_reply_moves_no_memory_of_a_codec(make_config: Make, federate: Any, payloads: Any) -> None:
    """The rows of client 1 are good and its test rows are not: of it, nothing was used."""

    def spoil(client: int, reply: Message) -> Message:
        if client != ODD_ONE or reply.metadata.group_id != "1":
            return reply
        return payloads.change(reply, test_rows=Rows.of([0], np.zeros((1, 10))))

    config = make_config(run={"rounds": 2}, payload={"encoding": f"{__name__}:Counting"})
    result, grid = federate(config, to_server=spoil)
    assert [(refusal.client, refusal.reason) for refusal in result.history[0].refused] == [(ODD_ONE, "shape")]
    used = {client: instruction_from_records(m.content).used_round for client, m in grid.asked(2).items()}
    assert used == {0: 1, ODD_ONE: 0, 2: 1, 3: 1}
    assert result.history[1].replied == (0, 1, 2, 3)


def test_a_lost_reply_parts_no_codec(make_config: Make, federate: Any, payloads: Any) -> None:
    """The reply of client 1 to round 2 is lost: its next message begins anew, and the one after builds on that."""

    def lose(client: int, reply: Message) -> Message | None:
        return None if client == ODD_ONE and reply.metadata.group_id == "2" else reply

    config = make_config(run={"rounds": 4}, payload={"encoding": f"{__name__}:Counting"})
    result, grid = federate(config, to_server=lose)
    assert [record.replied for record in result.history] == [(0, 1, 2, 3), (0, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3)]
    replies = [{c: payloads.reply(m) for c, m in grid.replied(server_round).items()} for server_round in (1, 2, 3, 4)]
    assert [each[0].based_on for each in replies] == [0, 1, 2, 3]
    assert [each[ODD_ONE].based_on for each in replies if ODD_ONE in each] == [0, 0, 3]
