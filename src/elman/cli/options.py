"""Reading what options hold, worded for the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from elman.errors import ElmanError


def percentages(option: str, text: str) -> list[float]:
    """Three numbers, for training, validation and test.

    >>> percentages("--split", "70,10,20")
    [70.0, 10.0, 20.0]
    """
    try:
        first, second, third = map(float, text.split(","))
        return [first, second, third]
    except ValueError:
        raise ElmanError(f"{option}: got {text!r}, want training, validation, test in per cent: 70,10,20") from None


def whole_numbers(option: str, text: str) -> list[int]:
    """Comma-separated whole numbers.

    >>> whole_numbers("--hidden", "64,32")
    [64, 32]
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ElmanError(f"{option}: got {text!r}, want a whole number, or one a layer such as 64,32") from None


def settings(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """``name=value`` pairs, the values as numbers or truth values where they read so.

    >>> settings("--set", ["nonlinearity=relu", "proj_size=8"])
    {'nonlinearity': 'relu', 'proj_size': 8}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise ElmanError(f"{option}: got {text!r}, want name=value, such as nonlinearity=relu")
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: those that are not None (or an empty list).

    >>> given(lr=0.1, clip=None, target=[])
    {'lr': 0.1}
    """
    return {name: value for name, value in options.items() if value is not None and value != []}


def aligned(rows: Mapping[str, str]) -> list[str]:
    """Rows of a name and a text, the texts under each other."""
    width = max(map(len, rows), default=0)
    return [f"{name:<{width}}  {text}" for name, text in rows.items()]
