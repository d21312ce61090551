"""Data in three wings: ``series``, ``text`` and ``labelled``; ``tables`` and ``parsing`` read files for all of them.

A file of a new kind is read in ``tables.py``; a new source by name is a function in ``series/sources.py``; a file of
labelled sequences in ``labelled/files.py``.
"""

from __future__ import annotations

from elman.choices.reading import ReadConfig
from elman.data.labelled.files import read_labelled, read_sequences
from elman.data.labelled.labelled import Labelled
from elman.data.labelled.parts import Parted, parted
from elman.data.series.calendar import Step
from elman.data.series.panel import Panel
from elman.data.series.scaling import Scaler
from elman.data.series.seasons import find_season, season_of_many
from elman.data.series.series import Series
from elman.data.series.sources import panel_in, read_panel, read_series, survey_series
from elman.data.series.waves import sine_batch, wave
from elman.data.series.windows import Split, part_ends, split_windows, windows
from elman.data.text.alphabet import Alphabet
from elman.data.text.ids import Ids, read_alphabet, split_text, write_ids
from elman.data.text.vocabulary import Vocabulary

__all__ = [
    "Alphabet",
    "Ids",
    "Labelled",
    "Panel",
    "Parted",
    "ReadConfig",
    "Scaler",
    "Series",
    "Split",
    "Step",
    "Vocabulary",
    "find_season",
    "panel_in",
    "part_ends",
    "parted",
    "read_alphabet",
    "read_labelled",
    "read_panel",
    "read_sequences",
    "read_series",
    "season_of_many",
    "sine_batch",
    "split_text",
    "split_windows",
    "survey_series",
    "wave",
    "windows",
    "write_ids",
]
