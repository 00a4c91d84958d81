"""Flower's SuperNode as a program that `courier` starts; imports nothing of ours, so that it is small.

    python -m fedkd.federation.site.supernode FLOWER-SUPERNODE-OPTION...

It is Flower's own program but for three things: while a run is going it looks twelve times as often for messages and
replies (every quarter of a second instead of every three), it ends with its parent, however that ends, and it ends
where its main loop does. Private to Flower, as `engines/internals.py` is, and pinned by the same test.
"""

from __future__ import annotations

import os
import sys
import time

from flwr.supercore.app_utils import start_parent_process_monitor
from flwr.supernode import start_client_internal
from flwr.supernode.cli.flower_supernode import flower_supernode

_HASTE = 12
_ATTENTION = 120.0
"""Seconds after the last message for which another is expected soon; then the SuperLink is spared."""
_NO_MESSAGE = 3.0
"""What Flower sleeps where there is no message; less, while it waits for the reply to one."""


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


def main() -> None:
    """Run Flower's SuperNode with this process's arguments."""
    setattr(start_client_internal, "time", HastyTime())  # noqa: B010 - its only use of that module
    start_parent_process_monitor(os.getppid())
    sys.argv[0] = "flower-supernode"
    flower_supernode()
    os._exit(1)  # the main loop is over, and a thread of the Runtime API would live on without it


if __name__ == "__main__":
    main()
