"""What a federated method is: a composition of five parts.

    sends      what leaves a client: logits on the public samples of the round, or weights
    aggregate  how the clients' logits become a teacher (no aggregator: no teacher)
    sharpen    how the teacher is sharpened before anyone learns from it
    start      how the server's models begin the round's distillation (no start: no server model, no student)
    distils    whether the server's models then learn from the teacher
    adopts     what a client takes over before it trains: the server's model of its architecture where there is one
               and the teacher's soft labels otherwise ("model"), or always the soft labels ("consensus")

A method in a file of its own is a `MethodConfig`, if it adds keys, and a function from that to a `Method`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from fedkd.aggregation import Aggregator, Sharpener, Weights, unchanged
from fedkd.distillation import DistillationConfig
from fedkd.errors import ConfigError
from fedkd.types import FloatArray, Section


class LocalDistillationConfig(DistillationConfig):
    """How a client learns from the teacher's soft labels."""

    epochs: int = Field(1, ge=0, description="passes over the public samples of the round")


class MethodConfig(Section):
    """Keys every method has."""

    name: str = Field("fkd", description="which method, or package.module:builder")
    public_per_round: int = Field(0, ge=0, description="public samples drawn for each round; 0: all of them")
    batch_norm_alignment: bool = Field(
        False, description="clients that adopted the student answer through its batch norm, as it came to them"
    )
    local_distillation: LocalDistillationConfig = Field(
        LocalDistillationConfig(), description="how a client learns from the teacher's soft labels"
    )


@dataclass(frozen=True)
class Contribution:
    """What one client gave in a round, decoded and validated.

    Attributes:
        client: partition id.
        architecture: name of the client's model.
        num_examples: private samples it trained on.
        logits_NC: its logits on the round's public samples; `None` where weights travel.
        weights: its weights; `None` where logits travel.
    """

    client: int
    architecture: str
    num_examples: int
    logits_NC: FloatArray | None = None
    weights: Weights | None = None


StartRule = Callable[[Weights, Sequence[Contribution]], Weights]
"""(the model's weights of the round before, contributions of its architecture) -> weights to go on from."""


def previous_weights(previous: Weights, contributions: Sequence[Contribution]) -> Weights:
    """Start from the model of the round before: all it learns comes through logits."""
    del contributions
    return previous


@dataclass(frozen=True)
class Method:
    """A federated method as a composition of parts; see the module's docstring.

    `proximal_mu` is the weight of FedProx's proximal term in local training.
    """

    name: str
    sends: Literal["logits", "weights"]
    adopts: Literal["model", "consensus"]
    aggregate: Aggregator | None = None
    sharpen: Sharpener = unchanged
    start: StartRule | None = None
    distils: bool = False
    proximal_mu: float = 0.0

    def __post_init__(self) -> None:
        if self.distils and (self.start is None or self.aggregate is None):
            raise ConfigError("method.name", self.name, "a method that distils needs an aggregator and a start rule")
        if self.adopts == "consensus" and self.aggregate is None:
            raise ConfigError(
                "method.name", self.name, "a method whose clients adopt the consensus needs an aggregator"
            )

    def teacher(self, logits_KNC: FloatArray) -> FloatArray | None:
        """The teacher's logits [N, C], or `None` for a method without a teacher."""
        return None if self.aggregate is None else self.sharpen(self.aggregate(logits_KNC))

    def server_models(self, student: str, clients: Iterable[str]) -> list[str]:
        """The architectures of which the server keeps a model: the student's first, and where weights travel those of
        the clients; none for a method without a student.
        """
        if self.start is None:
            return []
        return [student, *sorted(set(clients) - {student} if self.sends == "weights" else ())]
