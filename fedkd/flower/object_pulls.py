"""Shorter waits for the objects of a message.

Flower sends the objects of a message after the message itself. A receiver that polls often therefore sees the message
before its objects are there, and Flower then waits 1, 2, 4, … seconds between two attempts.

Can go when Flower announces a message only once its objects are there, or lets the first wait be set.
"""

from __future__ import annotations

from flwr.supercore.inflatable.inflatable_utils import pull_and_inflate_object_from_tree, pull_objects

_FIRST_WAIT = 0.02


def look_often_for_objects() -> None:
    """Make this process wait 0.02, 0.04, 0.08, … seconds between two attempts; at most 10 s, as before."""
    for pull in (pull_objects, pull_and_inflate_object_from_tree):
        pull.__kwdefaults__ = {**(pull.__kwdefaults__ or {}), "initial_backoff": _FIRST_WAIT}
