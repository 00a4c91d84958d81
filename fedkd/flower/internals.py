"""Private parts of Flower that an engine needs. Those of a site are in `site/flower_runtime.py` and
`site/supernode_patches.py`; how long either end waits for a message's parts is in `object_pulls.py`, and the making of
a bundle in `app_bundle.py`.

Pinned by `flwr>=1.41,<1.42`; `tests/integration/test_flower_internals.py` fails when one of these moves.
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
"""Error codes of what Flower says in the place of a node that is offline or lost its reply; it names no sender."""

POLICY = 2001
"""Error code of a reply by which a client says that its own site does not allow what was asked."""

MALFORMED = 2002
"""Error code in the place of a reply that could not be opened."""

HEALTH_PATH = "/health"
"""Where a SuperLink says that it is there."""

RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # clients ask for no GPU of their own, and may share one
}
"""What Ray is told by its environment, ours and Flower's."""

RUNTIME_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # the apps run in the environment that they are started from
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
    "PYTHONUNBUFFERED": "1",  # the run's log is read as it is written
    **RAY_ENVIRONMENT,
}
"""What Flower's and Ray's processes are told by their environment."""


def new_run(run_id: int) -> Run:
    """Make a run that no SuperLink knows."""
    return Run.create_empty(run_id)


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message the identifier that a SuperLink would."""
    message.metadata.__dict__["_message_id"] = message_id


def with_content(message: Message, content: RecordDict) -> Message:
    """The same message around another content."""
    return make_message(metadata=message.metadata, content=content)


def with_error(message: Message, code: int, reason: str) -> Message:
    """An error in the place of a message's content."""
    return make_message(metadata=message.metadata, error=Error(code, reason))


def pack_records(records: RecordDict) -> bytes:
    """Records as Flower sends them."""
    packed: bytes = recorddict_to_proto(records).SerializeToString()
    return packed


def unpack_records(packed: bytes) -> RecordDict:
    """Records as they were packed."""
    return recorddict_from_proto(RecordDictProto.FromString(packed))


@contextmanager
def task_identity(run_id: int, node_id: int) -> Iterator[None]:
    """Let this process build messages as `node_id` of `run_id`, and restore whoever it was before."""
    before = (TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id)
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, run_id, node_id
    try:
        yield
    finally:
        TaskIdentity._task_id, TaskIdentity._run_id, TaskIdentity._node_id = before


@contextmanager
def quiet_logger() -> Iterator[None]:
    """Let Flower's logger speak of warnings and worse only, and give its level back."""
    logger = logging.getLogger("flwr")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def log_our_errors_as_lines() -> None:
    """Let Flower's runtimes log an error that fedkd raised on purpose as one line, without its traceback."""
    logger = logging.getLogger("flwr")
    if not any(isinstance(each, _OurErrorsAsLines) for each in logger.filters):
        logger.addFilter(_OurErrorsAsLines())


class _OurErrorsAsLines(logging.Filter):
    """Flower logs what an app raised with `exc_info`; the rest of the record says nothing that the error does not."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, FedkdError):
            record.msg, record.args, record.exc_info = f"error: {' '.join(str(error).split())}", (), None
        return True
