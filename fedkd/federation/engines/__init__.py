"""Engines: Flower grids that run the same two apps in different places."""

from fedkd.federation.engines.local import LocalGrid

__all__ = ["LocalGrid"]
