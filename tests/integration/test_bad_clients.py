"""What a client may send, and what becomes of it: refused, named, counted, and the round goes on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from fedkd.config.experiment import ExperimentConfig
from fedkd.errors import RoundError
from fedkd.federation.server_app import FederationResult

Change = Callable[[RecordDict], None]
CULPRIT = 2


def replace_logits(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    def apply(content: RecordDict) -> None:
        logits = content.array_records["rows"]["values"].numpy()
        content["rows"] = ArrayRecord({"values": Array(change(logits))})

    return apply


def replace_header(**fields: object) -> Change:
    def apply(content: RecordDict) -> None:
        content["header"] = ConfigRecord({**content.config_records["header"], **fields})

    return apply


def replace_metric(**fields: float) -> Change:
    def apply(content: RecordDict) -> None:
        content["metrics"] = MetricRecord({**content.metric_records["metrics"], **fields})

    return apply


def one_nan(logits: np.ndarray) -> np.ndarray:
    logits = logits.copy()
    logits[3, 1] = np.nan
    return logits


def garbled(content: RecordDict) -> None:
    array = content.array_records["rows"]["values"]
    content["rows"] = ArrayRecord({"values": Array(array.dtype, array.shape, array.stype, b"not an array")})


def empty(content: RecordDict) -> None:
    content.clear()


def drop(record: str) -> Change:
    return lambda content: content.__delitem__(record)


CASES: dict[str, tuple[Change, str, str]] = {
    "NaN": (replace_logits(one_nan), "not_finite", "NaN or infinity"),
    "infinity": (replace_logits(lambda z: np.full_like(z, np.inf)), "not_finite", "NaN or infinity"),
    "too few samples": (replace_logits(lambda z: z[:-1]), "shape", "(60, 10)"),
    "three dimensions": (replace_logits(lambda z: z[None]), "shape", "(60, 10)"),
    "wrong class count": (replace_logits(lambda z: z[:, :9]), "shape", "(60, 9)"),
    "wrong dtype": (replace_logits(lambda z: z.astype(np.float64)), "dtype", "float64"),
    "garbled array": (garbled, "malformed", "cannot be read"),
    "no rows": (drop("rows"), "missing", "no rows"),
    "no header": (drop("header"), "missing", "'client'"),
    "no metrics": (drop("metrics"), "missing", "'metrics'"),
    "nothing": (empty, "missing", "'client'"),
    "another version": (replace_header(version="0.0.1"), "version", "0.0.1"),
    "another public set": (replace_header(public_digest="0" * 64), "public_digest", "000000000000…"),
    "another round": (replace_header(server_round=9), "round", "round 9"),
    "another client's name": (replace_header(client=0), "sender", "client 0"),
    "a mistyped field": (replace_header(server_round="one"), "malformed", "'one'"),
    "negative examples": (replace_metric(num_examples=-5), "malformed", "-5"),
    "no examples": (replace_metric(num_examples=0), "examples", "num_examples = 0"),
    "NaN metric": (replace_metric(train_loss=float("nan")), "malformed", "nan"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_reply_is_refused_named_and_counted_and_the_round_goes_on(
    case: str, small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    change, reason, detail = CASES[case]

    def tamper(client: int, reply: Message) -> Message:
        if client == CULPRIT:
            change(reply.content)
        return reply

    result = run_tampered(small_config(run={"rounds": 1}), tamper)
    (record,) = result.history
    assert record.completed
    assert record.replied == (0, 1, 3)
    (refusal,) = record.refused
    assert (refusal.client, refusal.reason) == (CULPRIT, reason)
    assert detail in refusal.detail


def test_the_rest_of_the_round_is_as_if_the_bad_client_had_not_been_drawn(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    config = small_config(run={"rounds": 1})

    def poison(client: int, reply: Message) -> Message:
        if client == CULPRIT:
            CASES["NaN"][0](reply.content)
        return reply

    poisoned = run_tampered(config, poison)
    silent = run_tampered(config, lambda client, reply: None if client == CULPRIT else reply)
    assert silent.history[0].late == (CULPRIT,)
    assert poisoned.student is not None
    assert silent.student is not None
    for key, weights in silent.student.items():
        np.testing.assert_array_equal(poisoned.student[key], weights)


def test_a_client_that_raises_is_refused_with_its_reason(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    def tamper(client: int, reply: Message) -> Message:
        if client != CULPRIT:
            return reply
        return Message(Error(2, "ValueError: disk full"), reply_to=_as_request(reply))

    (record,) = run_tampered(small_config(run={"rounds": 1}), tamper).history
    assert [(r.client, r.reason, r.detail) for r in record.refused] == [
        (CULPRIT, "client_error", "ValueError: disk full")
    ]


def _as_request(reply: Message) -> Message:
    """A message whose reply comes from where `reply` came from."""
    request = Message(RecordDict(), reply.metadata.src_node_id, "train")
    request.metadata.__dict__["_message_id"] = reply.metadata.reply_to_message_id
    return request


def test_a_second_reply_of_a_client_is_refused(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    first: list[Message] = []

    def tamper(client: int, reply: Message) -> Message:
        first.append(reply)
        return first[0] if client == 1 else reply

    (record,) = run_tampered(small_config(run={"rounds": 1}), tamper).history
    assert record.replied == (0, 2, 3)
    assert record.late == (1,)
    assert [refusal.reason for refusal in record.refused] == ["sender"]


def test_a_client_with_another_public_set_never_takes_part(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    def tamper(client: int, reply: Message) -> Message:
        if client == CULPRIT:
            replace_header(public_digest="f" * 64)(reply.content)
        return reply

    result = run_tampered(small_config(run={"rounds": 1}), tamper, "query.hello")
    assert result.history[0].selected == (0, 1, 3)


def test_a_federation_of_strangers_ends_with_every_reason(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    def tamper(client: int, reply: Message) -> Message:
        (replace_header(version="9.9") if client % 2 else replace_header(public_digest="f" * 64))(reply.content)
        return reply

    with pytest.raises(RoundError, match=r"0 clients can take part.*public_digest.*version.*9\.9"):
        run_tampered(small_config(), tamper, "query.hello")


def test_a_run_without_one_usable_reply_fails_and_says_why(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    def tamper(client: int, reply: Message) -> Message:
        CASES["NaN"][0](reply.content)
        return reply

    with pytest.raises(RoundError, match=r"no round had 1 usable replies.*not_finite"):
        run_tampered(small_config(), tamper)


def test_weights_that_overflow_are_refused(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    """Finite weights can still give infinite logits; `feddf` would average them into everybody's model."""

    def tamper(client: int, reply: Message) -> Message:
        if client == CULPRIT:
            weights = reply.content.array_records["weights"]
            huge = {key: Array(np.full_like(array.numpy(), 1e38)) for key, array in weights.items()}
            reply.content["weights"] = ArrayRecord(huge)
        return reply

    (record,) = run_tampered(small_config(run={"rounds": 1}, method={"name": "feddf"}), tamper).history
    assert record.completed
    assert [(refusal.client, refusal.reason) for refusal in record.refused] == [(CULPRIT, "not_finite")]


@pytest.mark.parametrize("method", ["fkd", "feddf", "fedavg"])
def test_models_with_batch_norm_travel(
    method: str, small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    """Their integer counters have no dimension, and must arrive without one."""
    config = small_config(
        run={"rounds": 2},
        clients={"number": 2, "models": ["resnet8"]},
        student={"model": "resnet8"},
        method={"name": method},
    )
    history = run_tampered(config, lambda _, reply: reply).history
    assert [record.replied for record in history] == [(0, 1), (0, 1)]


def test_a_student_that_diverges_ends_the_run_with_advice(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    config = small_config(student={"optimizer": "sgd", "learning_rate": 1e30})
    with pytest.raises(RoundError, match=r"diverged.*learning"):
        run_tampered(config, lambda _, reply: reply)


def test_a_huge_logit_is_bounded_by_the_server(
    small_config: Callable[..., ExperimentConfig], run_tampered: Callable[..., FederationResult]
) -> None:
    """A client that sends ±1e30 counts as one that sends ±clipping_range."""
    config = small_config(run={"rounds": 1})

    def send(value: float) -> FederationResult:
        def tamper(client: int, reply: Message) -> Message:
            if client == CULPRIT:
                replace_logits(lambda z: np.where(z > 0, value, -value).astype(np.float32))(reply.content)
            return reply

        return run_tampered(config, tamper)

    huge, bounded = send(1e30), send(config.payload.clipping_range)
    assert huge.student is not None
    assert bounded.student is not None
    for key, weights in bounded.student.items():
        np.testing.assert_array_equal(huge.student[key], weights)
