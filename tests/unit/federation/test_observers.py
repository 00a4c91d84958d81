"""Several observers are told as one, and arrays are carried to another process only for those that hear of them."""

from __future__ import annotations

import inspect

import pytest

from fedkd.federation.answers import RoundArrays
from fedkd.federation.observers import Observer, Observers


class OfArrays(Observer):
    def on_arrays(self, server_round: int, arrays: RoundArrays) -> None:
        del server_round, arrays


class OfReplies(Observer):
    def on_reply(self, server_round: int, replies: int, expected: int) -> None:
        del server_round, replies, expected


def test_only_who_overrides_it_hears_arrays() -> None:
    assert OfArrays().hears_arrays
    assert not Observer().hears_arrays
    assert not OfReplies().hears_arrays
    assert Observers([OfReplies(), Observers([OfArrays()])]).hears_arrays
    assert not Observers([OfReplies(), Observers([])]).hears_arrays


@pytest.mark.parametrize("method", [name for name in vars(Observer) if name.startswith("on_")])
def test_all_are_told_in_order(method: str) -> None:
    """Each method of an observer, also one that is new."""
    told: list[tuple[str, tuple[object, ...]]] = []
    observers = [Observer(), Observer()]
    for name, observer in zip("ab", observers, strict=True):
        setattr(observer, method, lambda *arguments, name=name: told.append((name, arguments)))
    arguments = tuple(range(len(inspect.signature(getattr(Observer, method)).parameters) - 1))
    getattr(Observers(observers), method)(*arguments)
    assert told == [("a", arguments), ("b", arguments)]
