"""Flower's SuperNode as a program that `courier` starts; imports next to nothing of ours, so that it is small.

    python -m fedkd.site.supernode_patches FLOWER-SUPERNODE-OPTION...

It is Flower's own program but for six things: while a run is going it looks twelve times as often for messages and
replies (every quarter of a second instead of every three), and for their parts at once; it waits for the reply to the
message that it has just fetched; the SuperLink misses it after half a minute of silence instead of a whole one, and
lets one that was killed in again only then; it ends with its parent, however that ends, and where its main loop does.
Private to Flower, as `engines/internals.py` is, and pinned by the same test.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from flwr.supercore import heartbeat
from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supercore.retry import exponential
from flwr.supernode import fleet_http_connection, start_client_internal
from flwr.supernode.cli.flower_supernode import flower_supernode

from fedkd.flower.object_pulls import look_often_for_objects

_HASTE = 12
_ATTENTION = 120.0
"""Seconds after the last message for which another is expected soon; then the SuperLink is spared."""
_NO_MESSAGE = 3.0
"""What Flower sleeps where there is no message; less, while it waits for the reply to one."""
_HEARTBEAT = 15
"""Seconds between two signs of life, at most; the SuperLink misses a node after twice as many."""
_LONGEST_RETRY = 4
"""Seconds between two tries of one that did not get through, at most: a SuperLink that is back hears it in time."""


class HastyTime:
    """Stands for the module `time` where Flower's SuperNode waits."""

    def __init__(self) -> None:
        self._last_message = time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait less than asked while messages come."""
        now = time.monotonic()
        if seconds < _NO_MESSAGE:
            self._last_message = now
        time.sleep(seconds / _HASTE if now - self._last_message < _ATTENTION else seconds)


class AwaitedReplies:
    """A SuperNode's state that gives replies out once the reply to the last message is among them.

    Flower takes any reply for the one that it waits for. A run that ends while a message is being fetched leaves a
    reply that nobody has waited for; from then on every reply would leave with the next message, a round too late.
    """

    def __init__(self, state: Any) -> None:
        self._state, self._awaited = state, ""
        self._held: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def store_message(self, message: Any) -> Any:
        """Store a message that was fetched, or a reply to it that was made here."""
        self._awaited = message.metadata.reply_to_message_id or message.metadata.message_id
        return self._state.store_message(message)

    def get_messages_legacy(self, *, is_reply: bool) -> list[Any]:
        """All replies so far, or none where the awaited one is not there yet."""
        self._held += self._state.get_messages_legacy(is_reply=is_reply)
        if all(reply.metadata.reply_to_message_id != self._awaited for reply in self._held):
            return []
        held, self._held = self._held, []
        return held


def wait_for_the_right_reply() -> None:
    """Give the main loop's two halves one view of the state that knows which message was the last."""
    views: list[AwaitedReplies] = []

    def seen(half: Callable[..., Any]) -> Callable[..., Any]:
        def with_view(*, state: Any, **rest: Any) -> Any:
            if not views:
                views.append(AwaitedReplies(state))
            return half(state=views[0], **rest)

        return with_view

    for name in ("_pull_and_store_message", "_push_messages"):
        setattr(start_client_internal, name, seen(getattr(start_client_internal, name)))


def hasten() -> None:
    """Let this process wait for messages and their parts, and between signs of life, for shorter."""
    setattr(start_client_internal, "time", HastyTime())  # noqa: B010 - its only use of that module
    for module in (heartbeat, fleet_http_connection):
        setattr(module, "HEARTBEAT_DEFAULT_INTERVAL", _HEARTBEAT)  # noqa: B010 - each has imported it by name
    setattr(heartbeat, "exponential", lambda max_delay: exponential(max_delay=min(max_delay, _LONGEST_RETRY)))  # noqa: B010
    look_often_for_objects()


def main() -> None:
    """Run Flower's SuperNode with this process's arguments."""
    hasten()
    wait_for_the_right_reply()
    start_parent_process_monitor(os.getppid())
    sys.argv[0] = "flower-supernode"
    flower_supernode()
    os._exit(1)  # the main loop is over, and a thread of the Runtime API would live on without it


if __name__ == "__main__":
    main()
