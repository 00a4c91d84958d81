"""Uploads: what a client makes of its model and data in a round, as rows.

    view, keys that were asked, memory ──▶ rows, memory

| name | keys | a row | reveals |
| --- | --- | --- | --- |
| public_logits | public samples | logits | answers on public samples |
| votes | public samples | 1 for the chosen class, 0 for the others | answers on public samples |
| class_logits | classes | mean logits over the private samples of the class | class statistics |
| prototypes | classes | mean feature over the private samples of the class | class statistics |

`Selected` wraps an upload and leaves out samples that a client knows nothing of. `ModelWeights` stands for the model
itself.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np

from fedkd.payload.rows import CLASS_STATISTICS, Arrays, Rows, RowsSpec
from fedkd.types import FloatArray, IntArray


class ClientView(Protocol):
    """What an upload may look at: one client's model after its local training, the public samples, its private ones.

    Where the upload is made on the test split, to measure the teacher, the test samples stand in for the public ones.
    """

    @property
    def num_classes(self) -> int:
        """C."""

    def public_logits(self, indices_N: IntArray) -> FloatArray:
        """The model's logits [N, C] on public samples."""

    def public_features(self, indices_N: IntArray, module: str) -> FloatArray:
        """The output [N, F] of a module of the model on public samples, flattened."""

    def public_inputs(self, indices_N: IntArray) -> FloatArray:
        """The public samples themselves [N, F], flattened."""

    def private_logits(self) -> tuple[FloatArray, IntArray]:
        """The model's logits [M, C] on the private samples, and their classes [M]."""

    def private_features(self, module: str) -> tuple[FloatArray, IntArray]:
        """The output [M, F] of a module on the private samples, flattened, and their classes [M]."""

    def private_inputs(self) -> tuple[FloatArray, IntArray]:
        """The private samples themselves [M, F], flattened, and their classes [M]."""


class Upload(ABC):
    """Makes a client's rows."""

    @abstractmethod
    def spec(self, num_classes: int, bound: float) -> RowsSpec:
        """What the rows are; `bound` is the clipping range of logits and features, infinity for none."""

    @abstractmethod
    def make(self, view: ClientView, asked_N: IntArray, memory: Arrays) -> tuple[Rows, Arrays]:
        """Make the rows for the keys that were asked, and what to remember until the client's next round."""


@dataclass(frozen=True)
class PublicLogits(Upload):
    """Logits on public samples (FedMD, Li & Wang 2019, alg. 1)."""

    def spec(self, num_classes: int, bound: float) -> RowsSpec:
        """C logits a sample."""
        return RowsSpec("public", num_classes, bound)

    def make(self, view: ClientView, asked_N: IntArray, memory: Arrays) -> tuple[Rows, Arrays]:
        """Ask the model."""
        return Rows.of(asked_N, view.public_logits(asked_N)), memory


@dataclass(frozen=True)
class Votes(Upload):
    """The chosen class of each public sample, as a row with a single 1 (FedKT, Li et al. 2021)."""

    def spec(self, num_classes: int, bound: float) -> RowsSpec:
        """Each value is 0 or 1."""
        return RowsSpec("public", num_classes, min(bound, 1.0), norm=1.0)

    def make(self, view: ClientView, asked_N: IntArray, memory: Arrays) -> tuple[Rows, Arrays]:
        """The first of equal classes is chosen."""
        return Rows.of(asked_N, np.eye(view.num_classes)[view.public_logits(asked_N).argmax(axis=1)]), memory


@dataclass(frozen=True)
class ClassLogits(Upload):
    """For each class that a client has, the mean logits over its private samples of it (FD, Jeong et al. 2018, alg. 1).

    Every client counts alike for a class that it has.
    """

    def spec(self, num_classes: int, bound: float) -> RowsSpec:
        """A C × C table with gaps."""
        return RowsSpec("classes", num_classes, bound, weighted=True, reveals=CLASS_STATISTICS)

    def make(self, view: ClientView, asked_N: IntArray, memory: Arrays) -> tuple[Rows, Arrays]:
        """Mean by class."""
        return _mean_by_class(*view.private_logits(), asked_N), memory


@dataclass(frozen=True)
class Prototypes(Upload):
    """For each class that a client has, the mean feature over its private samples of it (FedProto, Tan et al. 2022,
    eq. 3).

    Attributes:
        module: name of the module whose output is the feature.
        width: numbers of a feature.
    """

    module: str
    width: int

    def spec(self, num_classes: int, bound: float) -> RowsSpec:
        """A C × width table with gaps."""
        del num_classes
        return RowsSpec("classes", self.width, bound, weighted=True, reveals=CLASS_STATISTICS)

    def make(self, view: ClientView, asked_N: IntArray, memory: Arrays) -> tuple[Rows, Arrays]:
        """Mean by class."""
        return _mean_by_class(*view.private_features(self.module), asked_N), memory


Selector = Callable[[ClientView, IntArray, Arrays], tuple[FloatArray, Arrays]]
"""(view, keys that were asked, memory) -> the weight of each key, from 0 to 1, and what to remember."""


@dataclass(frozen=True)
class Selected(Upload):
    """Another upload, weighted by a selector; a row of weight 0 does not leave the client (Selective-FD, Shao et al.
    2024).
    """

    upload: Upload
    selector: Selector

    def spec(self, num_classes: int, bound: float) -> RowsSpec:
        """The upload's, with weights."""
        return replace(self.upload.spec(num_classes, bound), weighted=True)

    def make(self, view: ClientView, asked_N: IntArray, memory: Arrays) -> tuple[Rows, Arrays]:
        """Select first: what is not selected is not computed."""
        given_N, memory = self.selector(view, asked_N, memory)
        weights_N = np.asarray(given_N, np.float32)
        rows, memory = self.upload.make(view, asked_N[weights_N > 0], memory)
        own_N = rows.weights_N * weights_N[np.searchsorted(asked_N, rows.keys_N)]  # an upload may have fewer rows
        return replace(rows, weights_N=own_N), memory


@dataclass(frozen=True)
class ModelWeights:
    """The client's model itself goes up. It is no rows: it cannot be masked, and the server lets it answer."""


UPLOADS: Mapping[str, Callable[..., Upload]] = MappingProxyType(
    {"public_logits": PublicLogits, "votes": Votes, "class_logits": ClassLogits, "prototypes": Prototypes}
)
"""What `method.upload` takes, besides import paths."""


def _mean_by_class(values_MD: FloatArray, labels_M: IntArray, asked_N: IntArray) -> Rows:
    classes = asked_N[np.isin(asked_N, labels_M)]
    means = [values_MD[labels_M == each].mean(axis=0, dtype=np.float64) for each in classes]
    return Rows.of(classes, np.reshape(means, (len(classes), values_MD.shape[1])))
