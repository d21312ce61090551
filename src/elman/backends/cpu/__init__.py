"""Kernels for the processor: a program and its adjoint as native code for whole sequences, written with llvmlite."""

from elman.backends.cpu.backend import Cpu

__all__ = ["Cpu"]
