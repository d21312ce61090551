"""Recurrent networks from their equations: write the step once, derive the rest."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elman import cells, equations
    from elman.data import read_series
    from elman.equations import Cell, Program, cell
    from elman.errors import ElmanError
    from elman.layers import GRU, LSTM, RNN, GRUCell, LSTMCell, Recurrent, RNNCell

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "ElmanError",
    "GRUCell",
    "LSTMCell",
    "Program",
    "RNNCell",
    "Recurrent",
    "cell",
    "cells",
    "equations",
    "read_series",
]

# Where each name stands. It is loaded on its first use, so that the command answers before torch is there.
PLACES = {
    "elman.data": ["read_series"],
    "elman.equations": ["Cell", "Program", "cell"],
    "elman.errors": ["ElmanError"],
    "elman.layers": ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "Recurrent", "RNNCell"],
}


def __getattr__(name: str) -> Any:
    for module, names in PLACES.items():
        if name in names:
            globals()[name] = value = getattr(importlib.import_module(module), name)
            return value
    if name in ("cells", "equations"):
        return importlib.import_module(f"elman.{name}")
    raise AttributeError(f"module 'elman' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
