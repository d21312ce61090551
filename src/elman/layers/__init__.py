"""Cells over sequences: any cell, stacked, in two directions, of any lengths; and torch.nn's stand-ins."""

from elman.layers.recurrent import Recurrent
from elman.layers.torch_like import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell", "Recurrent"]
