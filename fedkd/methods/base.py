"""What a federated method is: a composition of small parts.

    uploads      what a client makes of its model and data: rows, or the model itself
    aggregate    how the clients' rows become a teacher (no aggregator: no teacher)
    refine       what happens to the teacher after that: sharpening, caches, server-side filters
    start        how the server's models begin the round's distillation (no start: no server model, no student)
    distils      which server models then learn from the teacher: none, the student, or all
    tells        what goes down as rows: the teacher, the student's own soft labels, or rows for each client
    adopts       what a client takes over before it trains: the server's model of its architecture, and soft labels
                 where there is none ("model"); always soft labels ("soft_labels"); or nothing ("nothing")
    local_terms  further losses of local training

A method in a file of its own is a `MethodConfig`, if it adds keys, and a function from that to a `Method`. Both are
frozen values; every part is a class that can be made without a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import Field

from fedkd.aggregation import Aggregator, MeanAggregator, Stack, Weights
from fedkd.distillation import DistillationConfig
from fedkd.errors import ConfigError
from fedkd.methods.refinements import Refinement, Refinements
from fedkd.methods.uploads import ModelWeights, PublicLogits, Upload
from fedkd.payload.rows import Rows
from fedkd.training.local_terms import LocalTerm
from fedkd.types import Section


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
        rows: its rows; `None` where none are sent.
        weights: its weights; `None` where they do not travel.
    """

    client: int
    architecture: str
    num_examples: int
    rows: Rows | None = None
    weights: Weights | None = None


StartRule = Callable[[Weights, Sequence[Contribution]], Weights]
"""(the model's weights of the round before, contributions of its architecture) -> weights to go on from."""


def previous_weights(previous: Weights, contributions: Sequence[Contribution]) -> Weights:
    """Start from the model of the round before: all it learns comes through rows."""
    del contributions
    return previous


TellEach = Callable[[Stack, Rows], Mapping[int, Rows]]
"""(the clients' rows, the teacher) -> what each client is told; a client that is left out is told the teacher."""

LOOKS_AT_EACH = "its aggregator looks at each client: a sum hides them"
"""Why a method cannot run under one masked sum, though it may under the sums of groups."""

Distils = Literal["nothing", "student", "all"]
Adopts = Literal["model", "soft_labels", "nothing"]


@dataclass(frozen=True)
class Method:
    """A federated method as a composition of parts; see the module's docstring.

    Attributes:
        uploads: at most one that makes rows, and `ModelWeights` where the model travels. Where the model alone travels,
            the teacher is made of the logits of the models that came.

    Raises:
        ConfigError: parts that do not go together, named under `method.name`.
    """

    name: str
    uploads: tuple[Upload | ModelWeights, ...]
    aggregate: Aggregator | None = None
    refine: tuple[Refinement, ...] = ()
    start: StartRule | None = None
    distils: Distils = "nothing"
    tells: Literal["teacher", "student"] | TellEach = "teacher"
    adopts: Adopts = "model"
    local_terms: tuple[LocalTerm, ...] = ()

    def __post_init__(self) -> None:
        for key, allowed in (("distils", get_args(Distils)), ("adopts", get_args(Adopts))):
            if getattr(self, key) not in allowed:
                self._refuse(f"{key} is {getattr(self, key)!r}; one of {', '.join(allowed)}")
        if not (callable(self.tells) or self.tells in ("teacher", "student")):
            self._refuse(f"tells is {self.tells!r}; teacher, student, or a function that gives each client its rows")
        if not self.uploads or sum(isinstance(upload, Upload) for upload in self.uploads) > 1:
            self._refuse("clients send one upload of rows, the weights of their models, or both")
        if self.distils != "nothing" and (self.start is None or self.aggregate is None):
            self._refuse("a method that distils needs an aggregator and a start rule")
        if self.tells == "student" and self.start is None:
            self._refuse("a method that tells the student's soft labels needs a start rule, which makes a student")
        if self.adopts == "soft_labels" and self.aggregate is None:
            self._refuse("a method whose clients adopt soft labels needs an aggregator")
        takes_soft_labels = self.adopts == "soft_labels" or (
            self.adopts == "model" and not (self.sends_model and self.start)
        )
        learns = self.distils != "nothing" or takes_soft_labels
        if self.teacher_upload.spec(2, 1.0).keys == "classes" and learns:
            self._refuse("rows keyed by class are no soft labels: nobody distils or adopts them, only local terms do")

    def _refuse(self, why: str) -> None:
        raise ConfigError("method.name", self.name, why)

    @property
    def sends_model(self) -> bool:
        """Whether clients' weights travel."""
        return any(isinstance(upload, ModelWeights) for upload in self.uploads)

    @property
    def rows_upload(self) -> Upload | None:
        """What clients make rows with; `None` where they send none."""
        return next((upload for upload in self.uploads if isinstance(upload, Upload)), None)

    @property
    def teacher_upload(self) -> Upload:
        """What makes the rows of which the teacher is made: at the clients, or at the server where models travel."""
        return self.rows_upload or PublicLogits()

    @property
    def refinement(self) -> Refinements:
        """All refinements as one."""
        return Refinements(self.refine)

    def needs_told_rows(self, *, adopts_model: bool) -> bool:
        """Whether a client is sent rows, given whether it adopts the server's model."""
        if self.aggregate is None:
            return False
        learns_from_them = self.adopts != "nothing" and not adopts_model
        return learns_from_them or any(term.needs_rows for term in self.local_terms)

    def refused_under_masks(self, bound: float, num_classes: int = 2) -> str | None:
        """Why no masked sum can carry this method's round, or `None` where one can.

        Args:
            bound: the clipping range of logits and features, infinity for none.
            num_classes: C.
        """
        if self.sends_model or self.rows_upload is None:
            return "its weights travel: only rows are summed"
        if not isinstance(self.aggregate, MeanAggregator) or self.aggregate.needs != "sum":
            return LOOKS_AT_EACH
        if type(self.aggregate).fit is not MeanAggregator.fit:
            return "its aggregator learns from the rows of each client"
        if callable(self.tells):
            return "it tells each client something else, which takes the rows of each"
        if self.rows_upload.spec(num_classes, bound).bound == float("inf"):
            return "its rows have no bound, and a sum of integers needs one"
        return None

    def server_models(self, student: str, clients: Iterable[str]) -> list[str]:
        """The architectures of which the server keeps a model: the student's first, and where weights travel those of
        the clients; none for a method without a student.
        """
        if self.start is None:
            return []
        return [student, *sorted(set(clients) - {student} if self.sends_model else ())]
