"""Docstrings as the reference shows them: examples become blocks of code, and roles their names."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*?(?=\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
ROLE = re.compile(r":(?:class|func|meth|mod|attr|data|exc):`~?([^`]+)`")


class Docstrings(griffe.Extension):
    """Rewrites every docstring as it is read."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Called by griffe for each function, class and module."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """A docstring in Markdown."""
    text = EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", text)
    return ROLE.sub(lambda found: f"`{found[1]}`", text)
