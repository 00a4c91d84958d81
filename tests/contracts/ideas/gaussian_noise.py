"""Gaussian noise on every row, sized by what the step before it has promised: `payload.steps = [{ name = "clip_norm",
clipping_norm = 5.0 }, { name = "gaussian_noise:Noise", noise_multiplier = 0.1 }]`.
"""

from dataclasses import dataclass, replace

import numpy as np

from fedkd.payload import Rows, RowsSpec, Step
from fedkd.records import PrivacyEvent


@dataclass(frozen=True)
class Noise(Step):
    """N(0, (noise_multiplier · largest norm of a row)²) on every value."""

    noise_multiplier: float

    def __call__(self, rows: Rows, spec: RowsSpec, rng: np.random.Generator) -> Rows:
        """The generator is this client's and this round's."""
        noise_ND = rng.normal(0, self.noise_multiplier * spec.row_norm, rows.values_ND.shape)
        return replace(rows, values_ND=(rows.values_ND + noise_ND).astype(np.float32))

    def after(self, spec: RowsSpec) -> RowsSpec:
        """The bound grows by six standard deviations."""
        return replace(spec, bound=spec.bound + 6 * self.noise_multiplier * spec.row_norm, norm=np.inf)

    def event(self, spec: RowsSpec, num_rows: int) -> PrivacyEvent:
        """One Gaussian mechanism a row."""
        return PrivacyEvent(mechanism="gaussian", noise_multiplier=self.noise_multiplier, count=num_rows)
