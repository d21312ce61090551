"""The command ``elman``: parse, call, print."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 done, 2 the user's input, 1 our fault, 130 interrupted."""
    from elman.cli import console

    return console.guarded(lambda: _called(arguments), as_json="--json" in arguments)


def _called(arguments: Sequence[str]) -> int:
    from elman.cli.app import app  # here, so that an interrupt while it loads is one too
    from elman.errors import ElmanError
    from elman.ranks import started

    if started() and not {"train", "test", "--help"} & set(arguments):
        raise ElmanError("torchrun starts `elman train` and `elman test`; start anything else without it")
    return app(args=list(arguments), prog_name="elman", standalone_mode=False)


def main() -> None:
    """The entry point of the command."""
    # Python would look for garbage among the hundreds of thousands of objects that torch brings and keeps, again and
    # again: a tenth to a fifth of the time that a command takes to start.
    gc.set_threshold(20_000, 10, 10)
    try:
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before there is anything that could word it
        print("elman: interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)
