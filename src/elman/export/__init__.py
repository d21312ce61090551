"""What leaves Python: a trained model as C, as ONNX, as a page; and whether all of them say the same."""

from __future__ import annotations

from elman.export.agree import Agreement, agreements
from elman.export.folder import KINDS, export

__all__ = ["KINDS", "Agreement", "agreements", "export"]
