"""What a round's clients said: from the rows of each, or from their sum, to one teacher before refinement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedkd.aggregation import Stack, Weights
from fedkd.methods import Contribution
from fedkd.payload import Rows
from fedkd.records import ClientScores


@dataclass(frozen=True)
class Answers:
    """All that the server knows of a round, the same in clear and under masks.

    Attributes:
        fresh: the aggregate over the keys that were asked; `None` for a method without a teacher.
        test: the same rule on the test split; `None` where nothing was measured.
        clients: scores of the clients.
        contributions: what each client gave; empty under masks.
        stack: the rows of all clients; `None` under masks and where there are none.
        seconds: wall time of what has been done already, by phase.
    """

    fresh: Rows | None
    test: Rows | None = None
    clients: ClientScores = field(default_factory=ClientScores)
    contributions: Sequence[Contribution] = ()
    stack: Stack | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundArrays:
    """The arrays of a round, for observers, and as `fedkd.load_round` reads them.

    Attributes:
        client_rows: what each client sent, decoded; empty where the server sees only a sum, and where no rows travel.
        client_weights: the weights that each client sent, by the names of its parameters; empty where none travel.
        teacher: after refinement; `None` where there is none.
        student: its weights; `None` for a method without one, and in what is read from a run folder.
    """

    client_rows: Mapping[int, Rows]
    client_weights: Mapping[int, Weights]
    teacher: Rows | None
    student: Weights | None
