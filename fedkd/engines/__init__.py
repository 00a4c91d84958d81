"""Engines: Flower grids that run the same two apps in different places.

`local` runs clients in this process, `ray_grid` in worker processes; the latter is imported where it is asked for.
"""

from fedkd.engines.local import LocalGrid
from fedkd.flower.simulated_grid import SimulatedGrid

__all__ = ["LocalGrid", "SimulatedGrid"]
