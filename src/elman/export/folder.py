"""Writing an export: all of it, or nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from elman.errors import ExportError, nearest
from elman.export.c_model import c_files
from elman.export.html import page
from elman.export.onnx_model import sequence_model, step_model
from elman.stepping.model import Model

NAME = re.compile(r"[a-z][a-z0-9_]*")
# What a name in C would collide with: its words, and what the code includes and calls.
WORDS = """auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main
memcpy memmove memset fabs fma fmax fmin log exp sqrt sin cos atan erf pow tanh expm1 log1p copysign"""
TAKEN = frozenset(WORDS.split())
Files = Mapping[str, str | bytes]


def _c(model: Model, name: str, **options: Any) -> Files:
    return c_files(model, name, **options).files


def _onnx(model: Model, name: str) -> Files:
    _need("onnx", "onnx")
    files = {"sequence.onnx": sequence_model(model).SerializeToString()}
    try:
        files["step.onnx"] = step_model(model).SerializeToString()
    except ExportError as error:
        files["no-step.txt"] = f"There is no step.onnx: {error}.\n".encode()
    return files


def _html(model: Model, name: str) -> Files:
    return {f"{name}.html": page(model, name)}


# What a model is written as. A further kind is a row here.
KINDS: dict[str, Callable[..., Files]] = {"c": _c, "onnx": _onnx, "html": _html}


def export(
    model: Model, kind: str, folder: str | os.PathLike[str], name: str = "network", **options: Any
) -> list[Path]:
    """Write ``model`` into the new folder ``folder`` and return the files.

    ``kind`` is c, onnx or html.

    Of C ``int8`` keeps the weights in eight bits, and ``apart`` in a file to map. Raises :class:`ExportError` where the
    folder exists, and for a model that has no such form.

    >>> import tempfile
    >>> from elman.jobs import Forecaster
    >>> forecaster = Forecaster("gru", hidden=4, context=20, epochs=1)
    >>> history = forecaster.fit("wave:sine")
    >>> [file.name for file in export(forecaster.portable(), "c", tempfile.mkdtemp() + "/c", "wave")]
    ['README.md', 'test_wave.c', 'wave.c', 'wave.h']
    """
    if kind not in KINDS:
        raise ExportError(f"`to`: there is no {kind!r}; {nearest(kind, KINDS)}")
    folder = Path(folder)
    if os.path.lexists(folder):
        raise ExportError(f"{folder}: is there already; remove it, or choose another with `out`")
    if not NAME.fullmatch(name) or name in TAKEN:
        what = "a word of C" if name in TAKEN else "not small letters, digits and _, beginning with a letter"
        raise ExportError(f"`name`: {name!r} is {what}; choose another")
    files = KINDS[kind](model, name, **options)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise ExportError(f"{folder}: the files cannot go there: {error.strerror}") from error
    try:
        for file, content in files.items():
            (unfinished / file).write_bytes(content if isinstance(content, bytes) else content.encode())
        unfinished.chmod(0o755)
        unfinished.rename(folder)
    except OSError as error:
        raise ExportError(f"{folder}: the files cannot go there: {error.strerror}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return sorted(folder / file for file in files)


def _need(module: str, extra: str) -> None:
    """Refuse where an extra is not installed."""
    if importlib.util.find_spec(module) is None:
        raise ExportError(f"this needs {module}, which is not installed: pip install 'elman[{extra}]'")
