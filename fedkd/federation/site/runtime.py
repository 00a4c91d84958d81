"""Flower's Runtime API as its executor of client apps sees it: one task is one message that waits for its reply.

Private to Flower, as `engines/internals.py` is, and pinned by the same test.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import httpx
from flwr.app import Context, Message
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender
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
            EngineError: the courier does not take it; it waits for a reply before it fetches the next message.
        """
        try:
            push_message(self._client, message, self.context)
        except httpx.HTTPError as cause:
            raise EngineError(f"the SuperNode does not take the reply ({type(cause).__name__}: {cause})") from cause
        push_task_output(self._client, None, SubStatus.COMPLETED, "")


class TaskQueue:
    """The tasks of one SuperNode.

    Args:
        address: host:port of its Runtime API, on this machine.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._client = self._connect()

    def take(self) -> str | None:
        """Claim the next task; returns its token, or `None` where none waits or nobody answers."""
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
            EngineError: it cannot be fetched.
        """
        with closing(self._connect(token)) as client:
            beats = HeartbeatSender(lambda: _still_ours(client))
            beats.start()
            try:
                try:
                    message, context, _, fab = pull_task_input(client)
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


def _still_ours(client: RuntimeHttpClient) -> bool:
    """Flower's own heartbeat ends the process where the task has been given up; here the reply then finds no taker."""
    try:
        if not client.SendTaskHeartbeat(SendTaskHeartbeatRequest()).success:
            logger.warning("the SuperNode has given the message up")
    except httpx.HTTPError:
        return False
    return True
