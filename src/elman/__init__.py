"""Recurrent networks from their equations: write the step once, derive the rest."""

from elman import cells, equations
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
]
