"""A cache of soft labels (SCARLET, Azuma et al. 2026): clients are asked only for samples whose soft label is missing
or older than `duration` rounds: `method.refine = [{ name = "soft_label_cache:SoftLabelCache", duration = 2 }]`.
"""

from dataclasses import dataclass

import numpy as np

from fedkd.methods.refinements import Refinement
from fedkd.payload import Rows


@dataclass(frozen=True)
class SoftLabelCache(Refinement):
    """Keeps the teacher's rows for `duration` rounds."""

    duration: int

    def initial(self, num_keys, width):
        """No label is known; round 0 stands for never."""
        return {"labels": np.zeros((num_keys, width), np.float32), "since": np.zeros(num_keys, np.int64)}

    def ask(self, drawn_N, server_round, state):
        """What is missing or too old."""
        since_N = state["since"][drawn_N]
        return drawn_N[(since_N == 0) | (server_round - since_N > self.duration)]

    def refine(self, fresh, drawn_N, server_round, state):
        """Keep what is fresh; the teacher is all that is known of what was drawn."""
        labels, since = state["labels"].copy(), state["since"].copy()
        labels[fresh.keys_N], since[fresh.keys_N] = fresh.values_ND, server_round
        known_N = drawn_N[since[drawn_N] > 0]
        return Rows.of(known_N, labels[known_N]), {"labels": labels, "since": since}
