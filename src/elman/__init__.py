"""Recurrent networks from their equations: write the step once, derive the rest."""

from typing import TYPE_CHECKING, Any

from elman import cells, equations
from elman.equations import Cell, Program, cell
from elman.errors import ElmanError
from elman.layers import GRU, LSTM, RNN, GRUCell, LSTMCell, Recurrent, RNNCell

if TYPE_CHECKING:
    from elman.data import read_series

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """``read_series``, which loads what reading tables needs, on its first use."""
    if name == "read_series":
        from elman.data import read_series

        return read_series
    raise AttributeError(f"module 'elman' has no attribute {name!r}")


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
