"""The tasks of a SuperNode, taken through Flower's Runtime API. A task is a message that needs a reply.

Flower's own executor starts a process for each task, which loads torch, the data and the model again, and imports the
app that came with the message.

Can go when Flower lets a running process answer the messages of a SuperNode with an app of its own.
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
    """A message and what came with it.

    Attributes:
        message: the message of the server.
        context: the context of the run. Its state is empty: a site stores the state itself.
        bundle: the app that the server wants to run.
    """

    message: Message
    context: Context
    bundle: bytes
    _client: RuntimeHttpClient

    def reply(self, message: Message) -> None:
        """Give the reply to the SuperNode.

        Raises:
            MessageLostError: the run has ended meanwhile, and the SuperNode has dropped its part of the reply.
            EngineError: the SuperNode does not accept the reply. It fetches no further message without one.
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
    """The SuperNode announced a message and never received it, or drops the reply to it: the run has ended, or the
    SuperLink was not reachable.
    """


class TaskQueue:
    """The tasks of one SuperNode. It fetches one message at a time, so a new task means that all earlier ones are over.

    Args:
        address: host:port of its Runtime API, on this machine.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = self._connect()
        self._waiting: str | None = None
        self._lock = threading.Lock()

    def take(self) -> str | None:
        """Claim the next task; return its token, or `None` if there is no task or the SuperNode does not answer."""
        with self._lock:
            token, self._waiting = self._waiting or self._claim(), None
            return token

    def another_waits(self) -> bool:
        """Return whether there is a next task; `take` will return it."""
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
        """Fetch a task, and send heartbeats for it while the block runs.

        Raises:
            MessageLostError: the content of the message will not arrive.
            EngineError: the task cannot be fetched.
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
        """Close the connection."""
        self._client.close()

    def _connect(self, token: str | None = None) -> RuntimeHttpClient:
        signed = [] if token is None else [RuntimeTokenHttpInterceptor(token)]
        return RuntimeHttpClient.from_server_address(
            self._address, True, None, [RuntimeVersionHttpInterceptor(component_name=_COMPONENT), *signed]
        )


class _Watched:
    """A client of the Runtime API that gives a message up when there is another one; Flower would retry for hours.

    Args:
        client: the client that is wrapped.
        another_waits: returns whether there is a next task.
    """

    def __init__(self, client: RuntimeHttpClient, another_waits: Callable[[], bool]) -> None:
        self._client, self._another_waits = client, another_waits

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def PullObject(self, request: PullObjectRequest) -> PullObjectResponse:
        """Fetch an object of the message, if it is there."""
        answer = self._client.PullObject(request)
        if not answer.object_available and self._another_waits():
            raise MessageLostError("the SuperNode has gone on without having received this message")
        return answer


def _still_ours(client: RuntimeHttpClient) -> bool:
    """Send a heartbeat. Flower's own function ends the process if the task was given up; ours only logs it."""
    try:
        if not client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success:
            logger.warning("the SuperNode has given the message up")
    except httpx.HTTPError:
        return False
    return True
