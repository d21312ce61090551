"""The registry: every cell of the catalogue by its key, and cells of a user's own file."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from contextlib import redirect_stdout, suppress
from pathlib import Path

from elman.cells import additive, dynamics, elman_jordan, gru, linear, lstm, searched, xlstm
from elman.equations import Cell
from elman.errors import CellError, EquationError, nearest

# Every cell of these files is in the catalogue, in this order.
FAMILIES = (elman_jordan, lstm, gru, additive, linear, dynamics, xlstm, searched)
REGISTRY: dict[str, Cell] = {c.name: c for family in FAMILIES for c in vars(family).values() if isinstance(c, Cell)}
ALIASES = {
    "elman": "rnn",
    "projected_lstm": "lstm_projected",
    "peephole_lstm": "peephole",
    "cifg": "coupled_lstm",
    "layernorm_lstm": "layer_norm_lstm",
    "nascell": "nas",
}


def get(name: str | Cell) -> Cell:
    """Return the cell of a name: a catalogue key, an alias, or ``file.py:name``.

    A cell is returned as it is.

    Raises :class:`CellError` with the nearest names where there is none.

    >>> get("elman").name
    'rnn'
    """
    if isinstance(name, Cell):
        return name
    if ".py:" in name or name.endswith(".py"):
        path, _, cell = name.rpartition(":") if ".py:" in name else (name, "", "")
        return load(path, cell)
    key = ALIASES.get(name, name)
    if key not in REGISTRY:
        raise CellError(
            f"there is no cell {name!r}; {nearest(name, [*REGISTRY, *ALIASES])}; or a cell of your own: file.py:name"
        )
    return REGISTRY[key]


def load(path: str | Path, name: str = "") -> Cell:
    """The cell ``name`` of the Python file ``path``; without a name, the file's only cell.

    Raises :class:`CellError` where the file, or a cell of that name in it, is not there or the file does not run.
    """
    file = Path(path)
    if not os.path.isfile(file):  # os.path answers where pathlib raises: no permission, a name too long
        raise CellError(f"{path}: there is no such file to read a cell from")
    cells = {n: v for n, v in _run(file).items() if isinstance(v, Cell)}
    if not name and len(cells) == 1:
        return next(iter(cells.values()))
    if name not in cells:
        what = f"has no cell {name!r}" if name else "has several cells or none; name one: file.py:name"
        raise CellError(
            f"{path} {what}; {nearest(name, cells) if cells else 'it defines no cell: decorate one with @elman.cell'}"
        )
    return cells[name]


def _run(file: Path) -> dict[str, object]:
    spec = importlib.util.spec_from_file_location(f"elman_cells_of_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise CellError(f"{file}: this is no Python file")
    module = importlib.util.module_from_spec(spec)
    folder = str(file.resolve().parent)
    sys.path.insert(0, folder)  # the file may import its neighbours, as it could if it were run
    sys.modules[spec.name] = module  # dataclasses look their module up by name
    try:
        with redirect_stdout(sys.stderr):  # stdout is for results
            spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(spec.name, None)
        if isinstance(error, EquationError) or not isinstance(error, Exception | SystemExit):
            raise
        raise CellError(f"{file} does not run: {_fault(error, file)}") from error
    finally:
        with suppress(ValueError):
            sys.path.remove(folder)
    return vars(module)


def _fault(error: BaseException, file: Path) -> str:
    """What stopped ``file``, in one line, with the number of the line."""
    own = os.path.abspath(file)  # as importlib names it
    text, source, number = str(error), own, None
    if isinstance(error, SyntaxError):  # of the file, or of one that it imports
        text, source, number = error.msg, error.filename or own, error.lineno
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            number = frame.lineno if frame.filename == own else number
    prefix = "" if source == own else f"{source}: "
    line = f"line {number}: " if number else ""
    hint = "; it must run to its end" if isinstance(error, SystemExit) else ""
    return " ".join(f"{prefix}{line}{type(error).__name__}: {text}{hint}".split())
