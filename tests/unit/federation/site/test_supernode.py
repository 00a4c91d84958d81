"""A SuperNode looks often while a run is going, and as rarely as Flower's own afterwards."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from fedkd.federation.site import supernode


def test_it_is_hasty_while_messages_come(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=0.0, slept=[])

    def sleep(seconds: float) -> None:
        clock.now += seconds
        clock.slept.append(seconds)

    monkeypatch.setattr(supernode, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    hasty = supernode.HastyTime()
    hasty.sleep(3)
    assert clock.slept == [0.25]
    clock.now = 200.0
    hasty.sleep(3)
    assert clock.slept[-1] == 3
    hasty.sleep(0.5)  # waits for a reply: there was a message
    assert clock.slept[-1] == pytest.approx(0.5 / 12)
    clock.now = 320.0
    hasty.sleep(3)
    assert clock.slept[-1] == 0.25
    clock.now = 325.0
    hasty.sleep(3)
    assert clock.slept[-1] == 3
