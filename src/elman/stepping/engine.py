"""What computes a step: native code where there can be any, else torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from elman.stepping.flat import Flat
from elman.stepping.interpret import InterpretedStep

if TYPE_CHECKING:
    from elman.stepping.kernel import KernelStep

NATIVE = (torch.float32, torch.float64)


def engine(flat: Flat, rows: int = 1, dtype: torch.dtype | None = None) -> KernelStep | InterpretedStep:
    """``rows`` streams of ``flat`` in ``dtype``, or in its tensors': write ``inputs``, call it, read ``outputs``."""
    wanted = dtype or flat.dtype
    if wanted in NATIVE:
        from elman.stepping.kernel import LOWERINGS, KernelStep

        if flat.operations <= LOWERINGS.keys():
            return KernelStep(flat, rows, torch.empty(0, dtype=wanted).numpy().dtype)
    return InterpretedStep(flat, rows, wanted)
