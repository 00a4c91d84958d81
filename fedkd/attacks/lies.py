"""Lies: what a malicious client does to its rows before it sends them. A lie is a step of the seam, and comes first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from fedkd.payload.rows import Rows, RowsSpec
from fedkd.payload.steps import Step


@dataclass(frozen=True)
class RotateLogits(Step):
    """Give the largest logit to the class of the second largest, that to the class of the third, and so on (FDLA, Tang
    et al. 2024, arXiv:2401.03685): the lie has the same numbers as the truth.
    """

    def __call__(self, rows: Rows, spec: RowsSpec, rng: np.random.Generator) -> Rows:
        """Rotate the sorted logits of each row by one."""
        del spec, rng
        order_ND = np.argsort(-rows.values_ND, axis=1, kind="stable")
        sorted_ND = np.take_along_axis(rows.values_ND, order_ND, axis=1)
        lied_ND = np.empty_like(rows.values_ND)
        np.put_along_axis(lied_ND, np.roll(order_ND, -1, axis=1), sorted_ND, axis=1)
        return replace(rows, values_ND=lied_ND)


@dataclass(frozen=True)
class LeastLikely(Step):
    """Be sure of the class that the client itself holds to be least likely.

    Attributes:
        size: the logit of that class; minus that for all others. What lies beyond the clipping range is clipped.
    """

    size: float = 30.0

    def __call__(self, rows: Rows, spec: RowsSpec, rng: np.random.Generator) -> Rows:
        """One large value a row."""
        del rng
        largest = min(self.size, spec.bound)
        lied_ND = np.full_like(rows.values_ND, -largest)
        lied_ND[np.arange(len(rows)), rows.values_ND.argmin(axis=1)] = largest
        return replace(rows, values_ND=lied_ND)


LIES: Mapping[str, Callable[..., Step]] = MappingProxyType({"rotate_logits": RotateLogits, "least_likely": LeastLikely})
"""What `attack.lie` takes, besides import paths of steps."""
