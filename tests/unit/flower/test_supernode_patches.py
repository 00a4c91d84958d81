"""A SuperNode polls often while a run is going, and afterwards as rarely as Flower's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fedkd.flower import supernode_patches


def message(name: str, reply_to: str = "") -> Any:
    return SimpleNamespace(metadata=SimpleNamespace(message_id=name, reply_to_message_id=reply_to))


class Store:
    """What a SuperNode keeps; a reply is given out once."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def store_message(self, message: Any) -> str:
        self.messages.append(message)
        return str(message.metadata.message_id)

    def get_messages_legacy(self, *, is_reply: bool) -> list[Any]:
        found = [each for each in self.messages if bool(each.metadata.reply_to_message_id) == is_reply]
        self.messages = [each for each in self.messages if each not in found]
        return found


def test_a_reply_that_nobody_waited_for_is_not_taken_for_the_next_one() -> None:
    store = Store()
    view = supernode_patches.AwaitedReplies(store)
    view.store_message(message("lost"))
    stale, right = message("stale", "lost"), message("right", "next")
    view.store_message(message("next"))
    store.messages.append(stale)  # by the executor, past the view
    assert view.get_messages_legacy(is_reply=True) == []
    assert view.get_messages_legacy(is_reply=True) == []
    store.messages.append(right)
    assert view.get_messages_legacy(is_reply=True) == [stale, right]
    assert view.get_messages_legacy(is_reply=True) == []


def test_a_reply_that_the_supernode_makes_itself_is_the_awaited_one() -> None:
    view = supernode_patches.AwaitedReplies(Store())
    view.store_message(refusal := message("refusal", "unsigned"))
    assert view.get_messages_legacy(is_reply=True) == [refusal]


def test_both_halves_of_flowers_loop_see_one_state(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for name in ("_pull_and_store_message", "_push_messages"):
        monkeypatch.setattr(supernode_patches.start_client_internal, name, lambda *, state, **_: seen.append(state))
    supernode_patches.wait_for_the_right_reply()
    supernode_patches.start_client_internal._pull_and_store_message(state=Store(), run=1)
    supernode_patches.start_client_internal._push_messages(state=Store())
    assert isinstance(seen[0], supernode_patches.AwaitedReplies)
    assert seen[0] is seen[1]


def test_it_waits_for_less_while_messages_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, slept=[])

    def sleep(seconds: float) -> None:
        clock.now += seconds
        clock.slept.append(seconds)

    monkeypatch.setattr(supernode_patches, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    waits = supernode_patches.ShorterWaits()
    waits.sleep(3)
    assert clock.slept == [0.25]
    clock.now = 200.0
    waits.sleep(3)
    assert clock.slept[-1] == 3
    waits.sleep(0.5)  # waits for a reply: there was a message
    assert clock.slept[-1] == pytest.approx(0.5 / 12)
    clock.now = 320.0
    waits.sleep(3)
    assert clock.slept[-1] == 0.25
    clock.now = 325.0
    waits.sleep(3)
    assert clock.slept[-1] == 3
