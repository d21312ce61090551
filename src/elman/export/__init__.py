"""What leaves Python: a trained model as C, as ONNX, as a page; and whether all of them say the same."""

from __future__ import annotations

from elman.export.agree import Agreement, agreements
from elman.export.folder import KINDS, export
from elman.export.html import page
from elman.export.layer import layer_as_c, layer_as_onnx

__all__ = ["KINDS", "Agreement", "agreements", "export", "layer_as_c", "layer_as_onnx", "page"]
