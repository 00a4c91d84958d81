"""A client that lies: it says the opposite of what it knows: `attack = { clients = [0], lie = "lying_client:Opposite"
}`.
"""

from dataclasses import replace

import numpy as np

from fedkd.payload import Rows, RowsSpec, Step


class Opposite(Step):
    """The negative of every logit, as large as the bound allows."""

    def __call__(self, rows: Rows, spec: RowsSpec, rng: np.random.Generator) -> Rows:
        """What goes beyond the bound is clipped behind this step, and again at the server."""
        return replace(rows, values_ND=-10 * rows.values_ND)
