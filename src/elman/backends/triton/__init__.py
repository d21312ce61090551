"""Kernels for the GPU, written in Triton from the equations."""

from elman.backends.triton.backend import Triton

__all__ = ["Triton"]
