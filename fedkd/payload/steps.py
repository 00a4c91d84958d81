"""Steps: what is done to rows between the upload that made them and the codec: clip norms, add noise, lie.

The place is the same for all, in clear and under masks. A step says what it does to the spec (`after`), so that the
server knows the bound of what arrives, and what it did for the privacy of the client (`event`), so that an accountant
can add up without seeing a value.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from fedkd.errors import ConfigError
from fedkd.payload.rows import Rows, RowsSpec
from fedkd.records import PrivacyEvent

TAIL = 6.0
"""The bound lies this many standard deviations of noise further out. What lies beyond is clipped: 2 of 10^9 values."""


class Step(ABC):
    """One step. Its randomness comes from the generator that it is given, drawn anew for each client and round."""

    @abstractmethod
    def __call__(self, rows: Rows, spec: RowsSpec, rng: np.random.Generator) -> Rows:
        """Return the changed rows; `spec` holds for those that came in."""

    def after(self, spec: RowsSpec) -> RowsSpec:
        """The spec of what comes out, of any rows that fit `spec`; what lies beyond its bound is clipped."""
        return spec

    def event(self, spec: RowsSpec, num_rows: int) -> PrivacyEvent | None:
        """What was done for privacy to `num_rows` rows of one message; `None` for nothing."""
        del spec, num_rows
        return None


@dataclass(frozen=True)
class ClipNorm(Step):
    """Scale every row down to an L2 norm of at most `clipping_norm` (as Abadi et al. 2016, alg. 1, do gradients)."""

    clipping_norm: float

    def __post_init__(self) -> None:
        if not self.clipping_norm > 0:
            raise ConfigError("payload.steps.clipping_norm", self.clipping_norm, "above 0")

    def __call__(self, rows: Rows, spec: RowsSpec, rng: np.random.Generator) -> Rows:
        """Leave shorter rows as they are."""
        del spec, rng
        norms_N1 = np.linalg.norm(rows.values_ND.astype(np.float64), axis=1, keepdims=True)
        shrunk = rows.values_ND * np.minimum(1.0, self.clipping_norm / np.maximum(norms_N1, np.finfo(np.float64).tiny))
        return replace(rows, values_ND=shrunk.astype(np.float32))

    def after(self, spec: RowsSpec) -> RowsSpec:
        """No value is larger than the norm."""
        return replace(spec, norm=min(spec.norm, self.clipping_norm), bound=min(spec.bound, self.clipping_norm))


@dataclass(frozen=True)
class GaussianNoise(Step):
    """Add N(0, (noise_multiplier · S)²) to every value, S the largest L2 norm of a row.

    Whether or not the client sent this row is then hidden by a Gaussian mechanism with that noise multiplier (Dwork &
    Roth 2014, app. A). Rows compose, those of one message as those of all rounds.
    """

    noise_multiplier: float

    def __post_init__(self) -> None:
        if not self.noise_multiplier > 0:
            raise ConfigError("payload.steps.noise_multiplier", self.noise_multiplier, "above 0")

    def __call__(self, rows: Rows, spec: RowsSpec, rng: np.random.Generator) -> Rows:
        """Add the noise in float64."""
        noise_ND = rng.normal(0.0, self.noise_multiplier * _sensitivity(spec), rows.values_ND.shape)
        return replace(rows, values_ND=(rows.values_ND + noise_ND).astype(np.float32))

    def after(self, spec: RowsSpec) -> RowsSpec:
        """The bound grows by what the noise may add."""
        deviation = self.noise_multiplier * _sensitivity(spec)
        return replace(spec, bound=spec.bound + TAIL * deviation, norm=float("inf"))

    def event(self, spec: RowsSpec, num_rows: int) -> PrivacyEvent:
        """One Gaussian mechanism a row."""
        del spec
        return PrivacyEvent(mechanism="gaussian", noise_multiplier=self.noise_multiplier, count=num_rows)


def _sensitivity(spec: RowsSpec) -> float:
    if not np.isfinite(spec.row_norm):
        raise ConfigError("payload.clip", False, "true with noise, whose size follows from the largest row")
    return spec.row_norm


STEPS: Mapping[str, Callable[..., Step]] = MappingProxyType({"clip_norm": ClipNorm, "gaussian_noise": GaussianNoise})
"""What `payload.steps` takes, besides import paths."""
