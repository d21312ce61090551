"""torch's own fused networks: cuDNN on CUDA, Metal on Apple, oneDNN on CPUs."""

from elman.backends.fused.backend import Fused

__all__ = ["Fused"]
