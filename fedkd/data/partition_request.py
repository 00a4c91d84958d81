"""What every kind of partition is asked.

Shape legend: N samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fedkd.data.config import PartitionConfig
from fedkd.types import IntArray


@dataclass(frozen=True, eq=False)
class Request:
    """What is to be divided: labels (and natural ids), among `num_clients`."""

    labels_N: IntArray
    num_clients: int
    config: PartitionConfig
    seed: int
    natural_ids_N: npt.NDArray[Any] | None = None
