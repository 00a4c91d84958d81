"""A message that never came is given up once another waits, which is then the next; until then it is waited for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse
from flwr.proto.runtime_pb2 import AcquireTaskResponse
from flwr.supercore.inflatable import inflatable_utils
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf

from fedkd.flower import task_queue


class SuperNode:
    """The Runtime API of a SuperNode with tasks, and with one object that comes at the third look, or never."""

    def __init__(self, tokens: list[str], comes: bool) -> None:
        self.tokens, self.comes, self.looks = tokens, comes, 0

    def AcquireTask(self, _: object) -> AcquireTaskResponse:
        answer = AcquireTaskResponse()
        if self.tokens:
            answer.task.SetInParent()
            answer.token = self.tokens.pop(0)
        return answer

    def PullObject(self, _: PullObjectRequest) -> PullObjectResponse:
        self.looks += 1
        there = self.comes and self.looks >= 3
        return PullObjectResponse(object_found=True, object_available=there, object_content=b"x")


@pytest.fixture
def queue_of(monkeypatch: pytest.MonkeyPatch):
    def make(supernode: SuperNode) -> task_queue.TaskQueue:
        monkeypatch.setattr(task_queue.TaskQueue, "_connect", lambda _: supernode)
        return task_queue.TaskQueue("127.0.0.1:1")

    return make


def pull(supernode: SuperNode, queue: task_queue.TaskQueue) -> dict[str, bytes]:
    watched = task_queue._Watched(supernode, queue.another_waits)
    fetch = make_pull_object_fn_protobuf(watched.PullObject, None, 1)
    return inflatable_utils.pull_objects(["a"], fetch, initial_backoff=0.01)


def test_what_comes_late_is_waited_for(queue_of) -> None:
    supernode = SuperNode([], comes=True)
    assert pull(supernode, queue_of(supernode)) == {"a": b"x"}


def test_a_message_that_never_came_gives_way_to_the_next(queue_of) -> None:
    supernode = SuperNode(["next"], comes=False)
    queue = queue_of(supernode)
    with pytest.raises(task_queue.MessageLostError):
        pull(supernode, queue)
    assert queue.take() == "next"
    assert queue.take() is None


def test_without_another_it_is_waited_for(queue_of) -> None:
    supernode = SuperNode([], comes=False)
    watched = task_queue._Watched(supernode, queue_of(supernode).another_waits)
    with pytest.raises(inflatable_utils.ObjectUnavailableError):
        make_pull_object_fn_protobuf(watched.PullObject, None, 1)("a")


def test_everything_else_is_the_clients_own() -> None:
    assert task_queue._Watched(SimpleNamespace(PullTaskInput=7), lambda: False).PullTaskInput == 7
