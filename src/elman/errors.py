"""The errors Elman raises on purpose.

    ElmanError                the user's input; the command line prints its message and exits with 2
    ├── EquationError         a cell's equations cannot be traced; names the source line
    ├── CellError             a cell that is not there, or an option it does not have
    ├── ShapeError            a tensor of the wrong shape (also a ValueError)
    ├── BackendError          a backend asked for by name that refuses the case
    ├── DataError             a file, column or row that cannot be read as asked
    ├── RunError              a run folder that is damaged, foreign, newer or in the way
    └── RankError             of several processes that train together, one was lost

A message says the cause, the value seen and the way out. Anything else that escapes is our fault:
the command line exits with 1.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ElmanError(Exception):
    """Base of every error that is the user's to mend."""


class EquationError(ElmanError):
    """A cell's equations use something tracing cannot see or that does not fit together."""


class CellError(ElmanError):
    """A cell that is not in the registry or the file named, or an option it does not take."""


class ShapeError(ElmanError, ValueError):
    """A tensor whose shape is not the one asked for."""


class BackendError(ElmanError):
    """A backend asked for by name refuses the case, with its reason."""


class DataError(ElmanError):
    """Data that cannot be read as asked; names the file and the row."""


class RunError(ElmanError):
    """A run folder that cannot be written or read."""


class RankError(ElmanError):
    """Of several processes that train together, one was lost; names it."""


class ExportError(ElmanError):
    """A network that cannot be written in the form asked for, with what stands in the way."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Word a hint for a mistyped name.

    >>> nearest("lstn", ["lstm", "gru"])
    "did you mean 'lstm'? Known: gru, lstm"
    """
    names = sorted(known)
    if not names:
        return "there is none"
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = "did you mean " + " or ".join(repr(c) for c in close) + "? " if close else ""
    return f"{hint}Known: {', '.join(names)}"
