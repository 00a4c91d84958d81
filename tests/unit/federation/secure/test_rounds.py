"""A masked round over a grid: who is asked at which stage, who is out, and what the record says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flwr.app import Message

from fedkd.config.experiment import ExperimentConfig
from fedkd.federation.secure.messages import (
    SecureAnswer,
    answer_from_records,
    answer_to_records,
    has_request,
    request_from_records,
)
from fedkd.records import RoundRecord

Make = Callable[..., ExperimentConfig]
MASKED = {"enabled": True, "minimum_cohort": 2}
STAGES = ["advertise", "share", "mask", "unmask"]


class Stages:
    """Knows at which stage of which round each client is when its reply comes."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, int]] = []
        self.answers: list[tuple[int, str, int, SecureAnswer]] = []
        self._at: dict[int, tuple[int, str]] = {}

    def to_client(self, client: int, message: Message) -> Message:
        if has_request(message.content):
            request = request_from_records(message.content)
            self._at[client] = (request.server_round, request.stage)
            self.asked.append((*self._at[client], client))
        return message

    def stage_of(self, client: int, reply: Message) -> tuple[int, str] | None:
        is_answer = "secure_aggregation" in reply.content.config_records
        return self._at[client] if is_answer else None

    def losing(self, *lost: tuple[int, str, int]) -> Callable[[int, Message], Message | None]:
        """Lose the replies of (round, stage, client)."""

        def on_the_way(client: int, reply: Message) -> Message | None:
            at = self.stage_of(client, reply)
            if at is None:
                return reply
            if (*at, client) in lost:
                return None
            self.answers.append((*at, client, answer_from_records(reply.content)))
            return reply

        return on_the_way


@pytest.mark.parametrize("stage", STAGES)
def test_a_client_that_falls_silent_at_a_stage_is_late_and_not_asked_again(
    make_config: Make, federate: Any, stage: str
) -> None:
    """Whoever is silent at the last stage has given its vector already: it counts."""
    stages = Stages()
    config = make_config(secure_aggregation=MASKED)
    result, _ = federate(config, to_client=stages.to_client, to_server=stages.losing((1, stage, 2)), reverse=True)
    (record,) = result.history
    survivors = (0, 1, 2, 3) if stage == "unmask" else (0, 1, 3)
    assert record.completed
    assert record.replied == record.secure_sum.survivors == survivors
    assert record.late == (() if stage == "unmask" else (2,))
    assert record.dropped == record.refused == ()
    assert record.secure_sum.dropped == {stage: (2,)}
    asked = [each for _, each, client in stages.asked if client == 2]
    assert asked == STAGES[: STAGES.index(stage) + 1]


def test_stages_count_the_bytes_of_the_answers_that_were_taken(make_config: Make, federate: Any) -> None:
    stages = Stages()
    config = make_config(run={"rounds": 2}, secure_aggregation=MASKED)
    losing = stages.losing((1, "share", 3), (2, "mask", 0))
    result, _ = federate(config, to_client=stages.to_client, to_server=losing)
    for record in result.history:
        for stage, num_bytes in record.secure_sum.bytes_up.items():
            answers = [each[3] for each in stages.answers if each[:2] == (record.server_round, stage)]
            assert num_bytes == sum(len(answer.message) + len(answer.advertisement) for answer in answers)
        assert list(record.secure_sum.bytes_down) == STAGES
        assert list(record.secure_sum.seconds) == STAGES


def test_who_sent_keys_ahead_is_not_asked_for_them_again(make_config: Make, federate: Any) -> None:
    """Client 3 was out of round 1 before its last answer, and client 1 lost that answer."""
    stages = Stages()
    config = make_config(run={"rounds": 2}, clients={"number": 5}, secure_aggregation=MASKED)
    losing = stages.losing((1, "mask", 3), (1, "unmask", 1))
    result, _ = federate(config, to_client=stages.to_client, to_server=losing)
    assert sorted(each for each in stages.asked if each[1] == "advertise") == [
        *((1, "advertise", client) for client in range(5)),
        (2, "advertise", 1),
        (2, "advertise", 3),
    ]
    assert [record.replied for record in result.history] == [(0, 1, 2, 4), (0, 1, 2, 3, 4)]


@pytest.mark.parametrize("setting", [{"early_keys": False}, {"dropout_stage": "advertise"}])
def test_keys_may_be_asked_for_in_every_round(make_config: Make, federate: Any, setting: dict[str, Any]) -> None:
    stages = Stages()
    config = make_config(run={"rounds": 2}, secure_aggregation=MASKED | setting)
    federate(config, to_client=stages.to_client, to_server=stages.losing())
    assert [(number, client) for number, stage, client in stages.asked if stage == "advertise"] == [
        (number, client) for number in (1, 2) for client in range(4)
    ]
    assert not any(answer.advertisement for *_, answer in stages.answers)


@pytest.mark.parametrize(
    ("lost", "adjacent"),
    [([], [None, None, None]), ([4], [None, 4, None]), ([3, 4], [None, None, None])],
    ids=["same cohort", "one fewer", "two fewer"],
)
def test_a_cohort_that_differs_from_the_last_by_one_client_is_recorded(
    make_config: Make, federate: Any, lost: list[int], adjacent: list[int | None]
) -> None:
    """Two such sums together give away what that client answered."""
    stages = Stages()
    config = make_config(run={"rounds": 3}, clients={"number": 5}, secure_aggregation=MASKED)
    losing = stages.losing(*((number, "mask", client) for number in (2, 3) for client in lost))
    history = federate(config, to_client=stages.to_client, to_server=losing).result.history
    assert [record.secure_sum.adjacent_client for record in history] == adjacent


@pytest.mark.parametrize("early_keys", [True, False])
def test_clients_refuse_such_a_cohort_where_they_are_told_to(
    make_config: Make, federate: Any, early_keys: bool
) -> None:
    """They remember the last cohort, whether or not they are asked for new keys."""
    stages = Stages()
    secure = MASKED | {"refuse_adjacent_cohorts": True, "early_keys": early_keys}
    config = make_config(run={"rounds": 2}, clients={"number": 5}, secure_aggregation=secure)
    losing = stages.losing((2, "mask", 4))
    first, second = federate(config, to_client=stages.to_client, to_server=losing).result.history
    assert (first.completed, second.completed) == (True, False)
    assert second.secure_sum.failure
    assert {refusal.client for refusal in second.refused} >= {0, 1, 2, 3}


def test_a_second_answer_and_one_in_anothers_name_are_refused(make_config: Make, federate: Any) -> None:
    """Client 3's vector arrives first and again in place of client 2's; client 1 says that it is client 0."""
    kept: list[Message] = []

    def change(client: int, reply: Message) -> Message:
        if reply.metadata.message_type != "train":
            return reply
        kept.append(reply)
        if client == 1:
            answer = answer_from_records(reply.content)
            reply.content.update(answer_to_records(SecureAnswer(0, answer.message, answer.advertisement)))
        return kept[0] if client == 2 else reply

    config = make_config(clients={"number": 5}, secure_aggregation=MASKED)
    (record,) = federate(config, to_server=change, reverse=True).result.history
    assert record.replied == (0, 3, 4)
    assert {(refusal.client, refusal.reason) for refusal in record.refused} == {(None, "sender"), (1, "sender")}
    assert record.late == (2,)


def test_the_reason_that_a_client_gives_for_leaving_is_recorded(make_config: Make, federate: Any) -> None:
    """The answers arrive from client 4 to client 0; the list of who is missing is in the order of clients."""

    def leave(client: int, reply: Message) -> Message:
        if client in {1, 3} and reply.metadata.message_type == "train":
            reply.content.update(answer_to_records(SecureAnswer(client, aborted="no more\npower")))
        return reply

    config = make_config(clients={"number": 5}, secure_aggregation=MASKED)
    (record,) = federate(config, to_server=leave, reverse=True).result.history
    assert sorted((each.client, each.reason, each.detail) for each in record.refused) == [
        (client, "secure_aggregation", "no more power") for client in (1, 3)
    ]
    assert record.secure_sum.dropped == {"mask": (1, 3)}
    assert record.replied == (0, 2, 4)


@pytest.mark.parametrize("lenient", ["nobody", "server"])
def test_server_and_clients_each_insist_on_the_smallest_cohort(make_config: Make, federate: Any, lenient: str) -> None:
    """Three of five are left where four are asked for: the server asks for no shares, or else clients give none."""
    stages = Stages()
    strict, weak = (
        make_config(clients={"number": 5}, run={"rounds": 2}, secure_aggregation=MASKED | {"minimum_cohort": number})
        for number in (4, 2)
    )
    first, second = federate(
        strict if lenient == "nobody" else weak,
        clients_config=strict,
        to_client=stages.to_client,
        to_server=stages.losing((2, "mask", 0), (2, "mask", 1)),
    ).result.history
    assert (first.completed, second.completed) == (True, False)
    assert second.secure_sum.failure
    asked_for_shares = [client for number, stage, client in stages.asked if (number, stage) == (2, "unmask")]
    assert asked_for_shares == ([] if lenient == "nobody" else [2, 3, 4])


def groups_of(record: RoundRecord) -> list[tuple[int, ...]]:
    assert record.secure_sum is not None
    return list(record.secure_sum.groups)


def test_clients_are_divided_into_groups_by_seed_and_round(make_config: Make, federate: Any) -> None:
    def groups(seed: int) -> list[list[tuple[int, ...]]]:
        config = make_config(
            run={"rounds": 2, "seed": seed},
            clients={"number": 7},
            data={"train_size": 140},
            method={"aggregator": "median_logits"},
            secure_aggregation=MASKED | {"group_size": 2},
        )
        return [groups_of(record) for record in federate(config).result.history]

    first, second = groups(seed=0)
    for division in (first, second):
        assert sorted(map(len, division)) == [2, 2, 3]
        assert sorted(client for group in division for client in group) == list(range(7))
        assert all(list(group) == sorted(group) for group in division)
    assert first != second
    assert groups(seed=0) == [first, second]
    assert groups(seed=1)[0] != first


def test_clients_of_one_sum_are_in_no_group(make_config: Make, federate: Any) -> None:
    (record,) = federate(make_config(secure_aggregation=MASKED)).result.history
    assert groups_of(record) == []
