"""Flower's SuperNode with five changes, as a program. It imports almost nothing of fedkd, so that it stays small.

    python -m fedkd.flower.supernode_patches FLOWER-SUPERNODE-OPTION...

1. While a run is going, it polls for messages and replies every 0.25 s, where Flower polls every 3 s.
   Can go when Flower's polling interval can be set.
2. It polls for the objects of a message without a first wait of 1 s; see `object_pulls`.
3. It waits for the reply to the message that it has just fetched; see `AwaitedReplies`.
   Can go when Flower matches replies by the id of their message.
4. The SuperLink takes it for offline after 30 s without a heartbeat, where Flower's default is 60 s. A SuperNode that
   was killed can connect again only then. Can go when the heartbeat interval is an option.
5. It ends when its parent process ends, and when its main loop ends.
   Can go when Flower's SuperNode has an option for the first and no thread survives the second.
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

_SPEED_UP = 12
"""How many times shorter a wait is while messages come."""
_ACTIVE_SECONDS = 120.0
"""Seconds after the last message in which the polling is fast; after that, it is as rare as in Flower."""
_NO_MESSAGE = 3.0
"""Seconds that Flower sleeps when there is no message. While it waits for a reply it sleeps for less."""
_HEARTBEAT = 15
"""Seconds between two heartbeats, at most. The SuperLink takes a node for offline after twice as many."""
_LONGEST_RETRY = 4
"""Seconds between two attempts to send a heartbeat, at most, so that a restarted SuperLink gets it in time."""


class ShorterWaits:
    """Replaces the module `time` in the main loop of Flower's SuperNode."""

    def __init__(self) -> None:
        self._last_message = time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`, or for a twelfth of them if there was a message in the last two minutes."""
        now = time.monotonic()
        if seconds < _NO_MESSAGE:
            self._last_message = now
        time.sleep(seconds / _SPEED_UP if now - self._last_message < _ACTIVE_SECONDS else seconds)


class AwaitedReplies:
    """Wraps the state of a SuperNode: returns replies only once the reply to the last message is among them.

    Flower accepts any reply as the one that it waits for. If a run ends while a message is being fetched, the reply to
    that message is left over. From then on every reply would be sent one message too late.
    """

    def __init__(self, state: Any) -> None:
        self._state, self._awaited = state, ""
        self._held: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)

    def store_message(self, message: Any) -> Any:
        """Store a message that was fetched, or a reply to it that this process made."""
        self._awaited = message.metadata.reply_to_message_id or message.metadata.message_id
        return self._state.store_message(message)

    def get_messages_legacy(self, *, is_reply: bool) -> list[Any]:
        """Return all replies so far, or none if the awaited one is missing."""
        self._held += self._state.get_messages_legacy(is_reply=is_reply)
        if all(reply.metadata.reply_to_message_id != self._awaited for reply in self._held):
            return []
        held, self._held = self._held, []
        return held


def wait_for_the_right_reply() -> None:
    """Make both functions of Flower's main loop use one `AwaitedReplies`."""
    views: list[AwaitedReplies] = []

    def seen(half: Callable[..., Any]) -> Callable[..., Any]:
        def with_view(*, state: Any, **rest: Any) -> Any:
            if not views:
                views.append(AwaitedReplies(state))
            return half(state=views[0], **rest)

        return with_view

    for name in ("_pull_and_store_message", "_push_messages"):
        setattr(start_client_internal, name, seen(getattr(start_client_internal, name)))


def shorten_waits() -> None:
    """Shorten the waits of this process: for messages, for their objects, and between heartbeats."""
    setattr(start_client_internal, "time", ShorterWaits())  # noqa: B010 - its only use of that module
    for module in (heartbeat, fleet_http_connection):
        setattr(module, "HEARTBEAT_DEFAULT_INTERVAL", _HEARTBEAT)  # noqa: B010 - each has imported it by name
    setattr(heartbeat, "exponential", lambda max_delay: exponential(max_delay=min(max_delay, _LONGEST_RETRY)))  # noqa: B010
    look_often_for_objects()


def main() -> None:
    """Run Flower's SuperNode with this process's arguments."""
    shorten_waits()
    wait_for_the_right_reply()
    start_parent_process_monitor(os.getppid())
    sys.argv[0] = "flower-supernode"
    flower_supernode()
    os._exit(1)  # the main loop is over, but a thread of the Runtime API would keep the process alive


if __name__ == "__main__":
    main()
