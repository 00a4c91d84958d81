"""The parts of a message that are announced before they are there, looked for at once and not after a second.

Flower sends a message's objects after the message itself, so whoever looks often finds the one before the others, and
Flower then waits for 1, 2, 4, … seconds. Private to Flower, as `engines/internals.py` is, and pinned by the same test.
"""

from __future__ import annotations

from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, pull_objects

_FIRST_WAIT = 0.02


def look_often_for_objects() -> None:
    """Let this process's pulls of objects wait for 0.02, 0.04, 0.08, … seconds, up to ten as before."""
    for pull in (pull_objects, pull_and_inflate_object_from_tree):
        pull.__kwdefaults__ = {**(pull.__kwdefaults__ or {}), "initial_backoff": _FIRST_WAIT}
