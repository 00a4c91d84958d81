"""Flower's Runtime API as its executor of client apps sees it: one task is one message that waits for its reply.

Private to Flower, as `engines/internals.py` is, and pinned by the same test.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import httpx
from flwr.app import Context, Message
from flwr.common.constant import SubStatus
from flwr.proto.message_pb2 import PullObjectRequest, PullObjectResponse
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_utils import ObjectPushError
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from fedkd.errors import EngineError

logger = logging.getLogger(__name__)

_COMPONENT = "flwr-clientapp"


@dataclass(frozen=True)
class Task:
    """A message, and what came with it.

    Attributes:
        message: the server's.
        context: of the run; its state is empty, as a site keeps its own.
        bundle: the app that the server wants to be run.
    """

    message: Message
    context: Context
    bundle: bytes
    _client: RuntimeHttpClient

    def reply(self, message: Message) -> None:
        """Hand the reply to the courier.

        Raises:
            MessageLostError: the run ended meanwhile, and the courier has dropped what it had of the reply.
            EngineError: the courier does not take it; it waits for a reply before it fetches the next message.
        """
        try:
            push_message(self._client, message, self.context)
        except ObjectPushError as cause:
            push_task_output(self._client, None, SubStatus.COMPLETED, "")
            raise MessageLostError("the run has ended before the SuperNode had the whole reply") from cause
        except httpx.HTTPError as cause:
            raise EngineError(f"the SuperNode does not take the reply ({type(cause).__name__}: {cause})") from cause
        push_task_output(self._client, None, SubStatus.COMPLETED, "")


class MessageLostError(Exception):
    """A message that the SuperNode announced and never received, or whose reply it drops, as the run has ended or the
    SuperLink was away.
    """


class TaskQueue:
    """The tasks of one SuperNode, which fetches one message at a time: where one waits, those before it are over.

    Args:
        address: host:port of its Runtime API, on this machine.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = self._connect()
        self._waiting: str | None = None
        self._lock = threading.Lock()

    def take(self) -> str | None:
        """Claim the next task; returns its token, or `None` where none waits or nobody answers."""
        with self._lock:
            token, self._waiting = self._waiting or self._claim(), None
            return token

    def another_waits(self) -> bool:
        """Whether there is a next task; `take` returns it."""
        with self._lock:
            self._waiting = self._waiting or self._claim()
            return self._waiting is not None

    def _claim(self) -> str | None:
        request = AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP])
        try:
            answer = self._client.AcquireTask(request)
        except httpx.TransportError:
            return None
        return str(answer.token) if answer.HasField("task") else None

    @contextmanager
    def open(self, token: str) -> Iterator[Task]:
        """Fetch a task, and say that it is being worked on while the block runs.

        Raises:
            MessageLostError: its content does not come any more.
            EngineError: it cannot be fetched.
        """
        with closing(self._connect(token)) as client:
            beats = HeartbeatSender(lambda: _still_ours(client))
            beats.start()
            try:
                try:
                    message, context, _, fab = pull_task_input(
                        cast(RuntimeHttpClient, _Watched(client, self.another_waits))
                    )
                except (httpx.HTTPError, RuntimeError) as cause:
                    raise EngineError(f"the SuperNode does not hand out the message ({cause})") from cause
                yield Task(message, context, fab.content, client)
            finally:
                beats.stop()

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _connect(self, token: str | None = None) -> RuntimeHttpClient:
        signed = [] if token is None else [RuntimeTokenHttpInterceptor(token)]
        return RuntimeHttpClient.from_server_address(
            self._address, True, None, [RuntimeVersionHttpInterceptor(component_name=_COMPONENT), *signed]
        )


class _Watched:
    """A client of the Runtime API that gives a message up once another waits; Flower's function goes on for hours.

    Args:
        client: the API's.
        another_waits: whether there is a next task.
    """

    def __init__(self, client: RuntimeHttpClient, another_waits: Callable[[], bool]) -> None:
        self._client, self._another_waits = client, another_waits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse:
        """Fetch a part of the message, if it is there."""
        answer = self._client.PullObject(request)
        if not answer.object_available and self._another_waits():
            raise MessageLostError("the SuperNode has gone on without having received this message")
        return answer


def _still_ours(client: RuntimeHttpClient) -> bool:
    """Flower's own heartbeat ends the process where the task has been given up; here the reply then finds no taker."""
    try:
        if not client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success:
            logger.warning("the SuperNode has given the message up")
    except httpx.HTTPError:
        return False
    return True
