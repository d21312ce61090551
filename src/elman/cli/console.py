"""What every command shares: one JSON object or lines for a person, and errors in one line."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Annotated, Any, TextIO

import typer

from elman import ranks
from elman.errors import ElmanError

ARGUMENTS = {"data": "DATA", "run": "-o"}  # what a command calls the arguments that are no options of their name
# What steers a terminal: control characters but tab and line feed, and those that turn the direction of writing.
CONTROL = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069]")
DONE, OUR_FAULT, USERS_INPUT, INTERRUPTED = 0, 1, 2, 130

Json = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object; everything else goes to stderr.", rich_help_panel="Output"),
]


def emit(result: Mapping[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """Print ``result`` as one JSON object, or ``lines`` for a person."""
    if ranks.number():  # of several processes that train together the first one speaks
        return
    with _until_read():
        for line in [json.dumps(_finite(result))] if as_json else lines:
            print(shown(line, _results()), file=_results())
        _results().flush()


class Interrupted(Exception):
    """The person stopped the command."""


@contextlib.contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal, and nothing elsewhere; what is given is told how many ``unit``s are done, of how many."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(unit), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(unit, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def stream(pieces: Iterable[str]) -> None:
    """Print a text that comes in pieces, each as it comes, and end the line."""
    with _until_read():
        for piece in pieces:
            print(shown(piece, _results()), end="", file=_results(), flush=True)
        print(file=_results(), flush=True)


def shown(text: str, stream: TextIO) -> str:
    r"""``text`` as it may be printed: what would steer a terminal is escaped there, and nothing elsewhere.

    >>> import io
    >>> shown("\x1b[2J", io.StringIO()) == "\x1b[2J"
    True
    """
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text) if stream.isatty() else text


def _speakable() -> None:
    """Let stdout and stderr take any text: what their encoding lacks is escaped, and a closed one swallows it."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _until_read() -> Iterator[None]:
    """Printing inside ends where the reader, `head` say, has seen enough. Raises :class:`ElmanError` on a full disk."""
    try:
        yield
    except OSError as error:
        # Nothing more may be written there, not even at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), _results().fileno())
        if not isinstance(error, BrokenPipeError):
            raise ElmanError(f"stdout: cannot be written: {error.strerror}") from error


_aside: TextIO | None = None  # where results go while stdout itself is turned aside


def _results() -> TextIO:
    return _aside or sys.stdout


@contextlib.contextmanager
def _stdout_for_results_alone() -> Iterator[None]:
    """What else is printed meanwhile, by a cell of the user's own say, goes to stderr."""
    global _aside
    _aside = sys.stdout
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _aside = None


def _finite(value: Any) -> Any:
    """``value`` with what JSON cannot say (NaN, infinities) as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def say(text: str) -> None:
    """Tell the person something beside the result, on stderr."""
    if not ranks.number():
        _say(text)


def _say(text: str) -> None:
    print(shown(text, sys.stderr), file=sys.stderr, flush=True)


def guarded(run: Callable[[], Any], as_json: bool) -> int:
    """Run a command and return its exit code; the user's errors become one line, ours a report."""
    _speakable()
    try:
        with warnings.catch_warnings(), _stdout_for_results_alone() if as_json else contextlib.nullcontext():
            warnings.showwarning = lambda message, *_, **__: say(f"warning: {message}")
            return run() or DONE
    except ElmanError as error:
        return _failed(str(error), as_json, USERS_INPUT)
    except (KeyboardInterrupt, Interrupted):
        say("elman: interrupted")
        return INTERRUPTED
    except Exception as error:
        # A usage error of the command line knows how to word itself, in every version of typer.
        if hasattr(error, "format_message"):
            return _failed(_one_line(error.format_message()), as_json, USERS_INPUT)
        traceback.print_exc()
        message = f"this is a fault of Elman's, not yours: {type(error).__name__}: {error}; please report it"
        return _failed(message, as_json, OUR_FAULT)


def as_options(message: str) -> str:
    """A message of Python's with its arguments as the command line has them.

    >>> as_options("`weight_decay`: got -1; give `date_format=%d/%m/%Y`, or a file for `data`; see `elman cells`")
    '--weight-decay: got -1; give --date-format %d/%m/%Y, or a file for DATA; see `elman cells`'
    """
    return re.sub(r"`([a-z][a-z0-9_]*)(?:=([^`]+))?`", _as_option, message)


def _as_option(match: re.Match[str]) -> str:
    name, value = match[1], match[2]
    if name in ARGUMENTS:
        return ARGUMENTS[name]
    if value is not None and re.search(r"[^\w./:,=+%-]", value):
        value = f"'{value}'"
    return f"--{name.replace('_', '-')}" + (f" {value}" if value is not None else "")


def _failed(message: str, as_json: bool, code: int) -> int:
    message = as_options(message)
    rank = ranks.number()
    _say(f"elman: rank {rank}: {message}" if rank else f"elman: {message}")
    if as_json and not rank:
        with _until_read():
            print(json.dumps({"error": message}), flush=True)
    return code


def _one_line(text: str) -> str:
    return " ".join(text.split())
