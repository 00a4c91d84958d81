"""Private parts of Flower that the engines use, each behind one function of ours.

A function can go when Flower offers the same in its public modules `flwr.app`, `flwr.clientapp` and `flwr.serverapp`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flwr.app import Error, Message, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from fedkd.errors import FedkdError

CLIENT_RAISED = int(ErrorCode.CLIENT_APP_RAISED_EXCEPTION)
CLIENT_CRASHED = int(ErrorCode.CLIENT_APP_CRASHED)

GONE = frozenset(
    int(code)
    for code in (ErrorCode.NODE_UNAVAILABLE, ErrorCode.MESSAGE_UNAVAILABLE, ErrorCode.REPLY_MESSAGE_UNAVAILABLE)
)
"""Error codes of the replies that Flower creates for a node that is offline, or whose reply was lost. They have no
sender.
"""

POLICY = 2001
"""Error code of a client's reply when the policy of its site does not allow the request."""

MALFORMED = 2002
"""Error code that stands for a reply that could not be unpacked."""

HEALTH_PATH = "/health"
"""Path of the URL under which a SuperLink answers when it is ready."""

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # clients ask for no GPU of their own, and may share one
}
"""Environment variables for Ray, whether we start it or Flower does."""

RUNTIME_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # the apps run in the environment that they are started from
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
    "PYTHONUNBUFFERED": "1",  # the run's log is read as it is written
    **RAY_ENVIRONMENT,
}
"""Environment variables for the processes of Flower and Ray.

`FLWR_SUPEREXEC_TASK_POLL_INTERVAL` can go when Flower starts a task without polling for it.
"""


def new_run(run_id: int) -> Run:
    """Create a run without a SuperLink. Can go when Flower makes a `Run` by a public constructor."""
    return Run.create_empty(run_id)


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message an identifier, as a SuperLink does. Can go when `Message` takes one."""
    message.metadata.__dict__["_message_id"] = message_id


def with_content(message: Message, content: RecordDict) -> Message:
    """Return a message with the same metadata and another content. Can go when `Message` can be copied so."""
    return make_message(metadata=message.metadata, content=content)


def with_error(message: Message, code: int, reason: str) -> Message:
    """Return a message with the same metadata and an error in place of its content."""
    return make_message(metadata=message.metadata, error=Error(code, reason))


def pack_records(records: RecordDict) -> bytes:
    """Serialise records in the format in which Flower sends them. Can go when `RecordDict` can be written to bytes."""
    packed: bytes = recorddict_to_proto(records).SerializeToString()
    return packed


def unpack_records(packed: bytes) -> RecordDict:
    """Return the records that `pack_records` serialised."""
    return recorddict_from_proto(RecordDictProto.FromString(packed))


@contextmanager
def task_identity(run_id: int, node_id: int) -> Iterator[None]:
    """Let this process create messages as node `node_id` of run `run_id` while the block runs.

    Can go when `Message` takes its run and sender as arguments.
    """
    before = (TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run_id, node_id
    try:
        yield
    finally:
        TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id = before


@contextmanager
def quiet_logger() -> Iterator[None]:
    """Let Flower's logger write warnings and errors only while the block runs."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def log_our_errors_as_lines() -> None:
    """Make Flower's runtimes log a `FedkdError` as one line, without a traceback.

    Can go when an app can tell Flower how to log its errors.
    """
    logger = logging.getLogger("flwr")
    if not any(isinstance(each, _OurErrorsAsLines) for each in logger.filters):
        logger.addFilter(_OurErrorsAsLines())


class _OurErrorsAsLines(logging.Filter):
    """Replaces the record of a `FedkdError`, which Flower logs with `exc_info`, by one line with its message."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, FedkdError):
            record.msg, record.args, record.exc_info = f"error: {' '.join(str(error).split())}", (), None
        return True
