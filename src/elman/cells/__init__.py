"""The catalogue of cells: one file a family, equations only."""

from elman.cells.registry import REGISTRY, get, load

__all__ = ["REGISTRY", "get", "load"]
