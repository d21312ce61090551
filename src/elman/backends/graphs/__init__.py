"""The plain loop captured in CUDA graphs: no launch from Python for each operation of each step."""

from elman.backends.graphs.backend import Graphs

__all__ = ["Graphs"]
