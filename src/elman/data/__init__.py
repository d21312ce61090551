"""Data: series, windows of them as views, scaling; texts as ids; labelled sequences.

A file of a new kind is read in ``tables.py``; a new source by name is a function in ``sources.py``; a file of
labelled sequences in ``labelled_files.py``.
"""

from __future__ import annotations

from elman.data.alphabet import Alphabet
from elman.data.calendar import Step
from elman.data.labelled import Labelled
from elman.data.labelled_files import read_labelled, read_sequences
from elman.data.parts import Parted, parted
from elman.data.reading import read_series, series_from_frame
from elman.data.scaling import Scaler
from elman.data.series import Series
from elman.data.sources import open_source
from elman.data.text import Ids, read_alphabet, split_text, write_ids
from elman.data.vocabulary import Vocabulary
from elman.data.waves import sine_batch, wave
from elman.data.windows import Split, split_windows, windows

__all__ = [
    "Alphabet",
    "Ids",
    "Labelled",
    "Parted",
    "Scaler",
    "Series",
    "Split",
    "Step",
    "Vocabulary",
    "open_source",
    "parted",
    "read_alphabet",
    "read_labelled",
    "read_sequences",
    "read_series",
    "series_from_frame",
    "sine_batch",
    "split_text",
    "split_windows",
    "wave",
    "windows",
    "write_ids",
]
