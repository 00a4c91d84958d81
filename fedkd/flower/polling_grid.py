"""A deployed federation's grid, asked more often and for less: replies are noticed within a tenth of a second, not
within three, and the arrays of a message travel in one parcel.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedkd.errors import PayloadError
from fedkd.flower.internals import GONE, MALFORMED, with_error
from fedkd.flower.packing import Parcels, opened, parcelled

if TYPE_CHECKING:
    from flwr.supercore.run import Run

_POLL = 0.1
_CLOCKS_APART = 600.0
"""Seconds by which the clocks of two machines may differ: Flower compares what a message's two ends say of the time."""


class PromptGrid(Grid):
    """Does what another grid does, with messages in parcels, and waits for replies by itself.

    A message that nobody fetched in time is not kept for long, and a node that went offline is as silent as one that
    never answers: Flower's own replies in its place are left out.

    Args:
        grid: Flower's, in a deployment or in its simulation runtime.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def set_run(self, run: Run) -> None:
        """Set the run."""
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        """The run."""
        return self._grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Create a message to one node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """The nodes that are online."""
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send messages in parcels; returns what to pull their replies by."""
        held, made = list(messages), Parcels()
        return self._grid.push_messages([parcelled(message, made) for message in held])

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Replies that have come; one whose parcel cannot be opened is an error of its sender."""
        return [_opened(reply) for reply in self._grid.pull_messages(message_ids)]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Yield each reply as soon as it is there, for at most `timeout` seconds."""
        pushed = list(messages)
        if timeout is not None:
            for message in pushed:
                message.metadata.ttl = timeout + _CLOCKS_APART
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        waiting = set(self.push_messages(pushed))
        while waiting and time.monotonic() < deadline:
            replies = list(self.pull_messages(waiting))
            waiting -= {reply.metadata.reply_to_message_id for reply in replies}
            yield from (reply for reply in replies if not (reply.has_error() and reply.error.code in GONE))
            if waiting and not replies:
                time.sleep(_POLL)


def _opened(reply: Message) -> Message:
    try:
        return opened(reply)
    except PayloadError as problem:
        return with_error(reply, MALFORMED, problem.detail)
