"""Wording what is wrong with options: pydantic finds it, a person reads it in one line."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from elman.errors import ElmanError, nearest

Model = TypeVar("Model", bound=BaseModel)
Place = tuple[int | str, ...]

# Shows a value in an error: cut where it is long or deep.
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 120


def checked(
    model: type[Model],
    values: Mapping[str, Any],
    name: Callable[[Place], str] | None = None,
    error: type[ElmanError] = ElmanError,
) -> Model:
    """Build ``model`` from ``values``, wording what does not fit.

    ``name`` words a field: :func:`argument` as in Python, :func:`field` as in a file. Raises ``error``.

    >>> from elman.choices.recipe import Recipe
    >>> checked(Recipe, {"lr": -1, "batch": "many"})
    Traceback (most recent call last):
    elman.errors.ElmanError: `batch`: got 'many', want a valid integer; `lr`: got -1, want greater than 0
    """
    try:
        return model.model_validate(values)
    except ValidationError as found:
        raise error(worded(found, model, name or argument)) from found


def argument(location: Place) -> str:
    """Name a field as an argument of Python's, which the command line words as its option.

    >>> argument(("date_format",)), argument(("split", 0))
    ('`date_format`', '`split`')
    """
    names = [part for part in location if isinstance(part, str)] or location
    return f"`{names[-1]}`"


def field(location: Place) -> str:
    """Name a field as a path into a file.

    >>> field(("recipe", "lr"))
    'recipe.lr'
    """
    return ".".join(str(part) for part in location)


def worded(error: ValidationError, model: type[BaseModel], name: Callable[[Place], str] = field) -> str:
    """Say in one line everything ``error`` found: the field of ``model``, the value seen, the one wanted."""
    return "; ".join(_problem(detail, model, name) for detail in error.errors(include_url=False))


def _problem(detail: Any, model: type[BaseModel], name: Callable[[Place], str]) -> str:
    location, message = detail["loc"], detail["msg"]
    # A check on the model as a whole has no place; its message must say which fields it is about.
    where = f"{name(location)}: " if location else ""
    if detail["type"] == "missing":
        return f"{where}is missing"
    if detail["type"] == "extra_forbidden":
        hint = f"; {nearest(location[0], model.model_fields)}" if len(location) == 1 else ""
        return f"{where}is not known{hint}"
    if detail["type"] == "value_error":
        return where + message.removeprefix("Value error, ")
    want = message.removeprefix("Input should be ").split(", unable to")[0]
    return f"{where}got {_shown.repr(detail['input'])}, want {want}"
