"""Who is told how a federation goes: progress bars, run folders, event files."""

from __future__ import annotations

from collections.abc import Sequence

from fedkd.federation.answers import RoundArrays
from fedkd.records import Refusal, RoundRecord


class Observer:
    """Hears of everything and does nothing; subclasses override what they want to hear."""

    def on_clients(self, clients: Sequence[int], refused: Sequence[Refusal]) -> None:
        """The federation is formed: these clients take part, those were refused."""

    def on_reply(self, server_round: int, replies: int, expected: int) -> None:
        """One more reply of a round has come."""

    def on_phase(self, server_round: int, phase: str) -> None:
        """The server turns to `phase`: "training", "distillation"."""

    def on_arrays(self, server_round: int, arrays: RoundArrays) -> None:
        """A round's clients were heard and the teacher is there; told before `on_round`, of completed rounds only.

        The arrays are those of the server itself: copy what you want to change.
        """

    @property
    def hears_arrays(self) -> bool:
        """Whether `on_arrays` is overridden; where it is not, arrays are not carried to another process."""
        return type(self).on_arrays is not Observer.on_arrays

    def on_round(self, record: RoundRecord) -> None:
        """A round is over."""


class Observers(Observer):
    """Tells several observers, in order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def on_clients(self, clients: Sequence[int], refused: Sequence[Refusal]) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.on_clients(clients, refused)

    def on_reply(self, server_round: int, replies: int, expected: int) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.on_reply(server_round, replies, expected)

    def on_phase(self, server_round: int, phase: str) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.on_phase(server_round, phase)

    def on_arrays(self, server_round: int, arrays: RoundArrays) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.on_arrays(server_round, arrays)

    @property
    def hears_arrays(self) -> bool:
        """Whether one of them hears of arrays."""
        return any(observer.hears_arrays for observer in self._observers)

    def on_round(self, record: RoundRecord) -> None:
        """Tell all."""
        for observer in self._observers:
            observer.on_round(record)
