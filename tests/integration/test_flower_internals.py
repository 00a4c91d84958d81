"""The private parts of Flower that engines stand on: these tests fail when one of them moves."""

from __future__ import annotations

import flwr
import pytest
from flwr.app import Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from fedkd.federation.engines import internals


def test_the_pinned_version_is_installed() -> None:
    assert flwr.__version__.split(".")[:2] == ["1", "41"]


def test_messages_can_be_built_under_an_identity_and_it_is_given_back() -> None:
    with internals.task_identity(run_id=7, node_id=3):
        message = Message(RecordDict(), dst_node_id=5, message_type="train")
        assert (message.metadata.run_id, message.metadata.src_node_id) == (7, 3)
        with internals.task_identity(run_id=8, node_id=4):
            assert TaskIdentity.run_id == 8
        assert TaskIdentity.run_id == 7


def test_without_an_identity_flower_builds_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TaskIdentity, "_run_id", None)
    with pytest.raises(RuntimeError):
        Message(RecordDict(), dst_node_id=5, message_type="train")


def test_a_reply_carries_the_id_of_its_request() -> None:
    with internals.task_identity(run_id=1, node_id=0):
        request = Message(RecordDict(), dst_node_id=5, message_type="train")
        internals.set_message_id(request, "m-1")
        assert Message(RecordDict(), reply_to=request).metadata.reply_to_message_id == "m-1"


def test_a_new_run_has_its_id() -> None:
    assert internals.new_run(11).run_id == 11
