"""Everything of Flower's that is private to it and that an engine needs. Nothing else imports from here or there.

Pinned by `flwr>=1.41,<1.42`; `tests/integration/test_flower_internals.py` fails when one of these moves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flwr.app import Message, RecordDict
from flwr.app.message import make_message
from flwr.common.constant import ErrorCode
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.proto.recorddict_pb2 import RecordDict as RecordDictProto
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

CLIENT_RAISED = int(ErrorCode.CLIENT_APP_RAISED_EXCEPTION)
CLIENT_CRASHED = int(ErrorCode.CLIENT_APP_CRASHED)


def new_run(run_id: int) -> Run:
    """Make a run that no SuperLink knows."""
    return Run.create_empty(run_id)


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message the identifier that a SuperLink would."""
    message.metadata.__dict__["_message_id"] = message_id


def with_content(message: Message, content: RecordDict) -> Message:
    """The same message around another content."""
    return make_message(metadata=message.metadata, content=content)


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
