"""Data: series from files, dataframes, waves and FRED; windows of them as views; scaling; texts as ids.

A file of a new kind is read in ``tables.py``; a new source by name is a function in ``sources.py``.
"""

from __future__ import annotations

from elman.data.alphabet import Alphabet
from elman.data.calendar import Step
from elman.data.reading import read_series, series_from_frame
from elman.data.scaling import Scaler
from elman.data.series import Series
from elman.data.sources import open_source
from elman.data.text import Ids, read_alphabet, split_text, write_ids
from elman.data.waves import sine_batch, wave
from elman.data.windows import Split, split_windows, windows

__all__ = [
    "Alphabet",
    "Ids",
    "Scaler",
    "Series",
    "Split",
    "Step",
    "open_source",
    "read_alphabet",
    "read_series",
    "series_from_frame",
    "sine_batch",
    "split_text",
    "split_windows",
    "wave",
    "windows",
    "write_ids",
]
