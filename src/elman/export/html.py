"""A trained model as one page that needs no network: type, or move a point, and see what it says."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np

from elman import __version__
from elman.errors import ExportError
from elman.export.js import JsStep
from elman.stepping.model import Model

SHOWN = 300  # values of the example that a page holds
# The tasks that page.js has a page for, and what it says of them.
PAGES = {"forecast": "forecasts a series", "generate": "writes a text", "classify": "classifies sequences"}
PROMPT = 60  # symbols of a text that it begins with


def page(model: Model, title: str) -> str:
    """Write the page of a model.

    Raises :class:`ExportError` for a network without a step, and for a cell with further inputs.
    """
    steps = [JsStep(flat) for flat in model.networks]
    for flat in model.networks:
        further = [name for name in flat.inputs if name not in ("x", "symbol")]
        if further:
            raise ExportError(f"a cell with further inputs ({', '.join(further)}) has no page")
    folder = files("elman.export") / "page"
    facts: dict[str, Any] = {
        "task": model.task,
        "columns": model.columns,
        "shift": model.shift.tolist(),
        "scale": model.scale.tolist(),
        "differences": model.differences,
        "context": model.context,
        "steps": model.steps,
        "horizon": model.horizon,
        "at_once": model.at_once,
        "standing": None if model.standing is None else {k: _plain(v) for k, v in asdict(model.standing).items()},
        "tokens": model.tokens,
        "classes": model.classes,
        "prior": model.prior.tolist(),
        "temperature": model.temperature,
        "level": model.level,
        "unwritten": model.unwritten,
        "unknown": 0 if model.classes or model.level == "word" else None,
        "prompt": _prompt(model),
        "example": [] if model.tokens else model.example[-max(SHOWN, model.context + 1) :],
        "sizes": [step.weights.size for step in steps],
    }
    functions = sorted({function for step in steps for function in step.functions})
    numbers = np.concatenate([np.zeros(0, "<f4"), *(step.weights for step in steps)]).astype("<f4")
    contents = {
        "TITLE": html.escape(title),
        "ABOUT": f"{_about(model)} Type, or move a point, and see what it says.",
        "VERSION": __version__,
        "CSS": (folder / "page.css").read_text(),
        "MODEL": _inside_script(json.dumps(facts)),
        "WEIGHTS": base64.b64encode(numbers.tobytes()).decode(),
        "STREAM": (folder / "stream.js").read_text(),
        "FUNCTIONS": "\n".join(functions),
        "MAKERS": ",\n".join(step.code for step in steps),
        "PAGE": (folder / "page.js").read_text(),
    }
    # From the template piece by piece: what is put in is not searched again.
    pieces = (folder / "page.html").read_text().split("$")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        mark = next(m for m in sorted(contents, key=len, reverse=True) if piece.startswith(m))
        filled += [contents[mark], piece[len(mark) :]]
    return "".join(filled)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value


def _inside_script(text: str) -> str:
    """JSON that ends no script, whatever it says."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _prompt(model: Model) -> str:
    if not model.tokens:
        return ""
    if model.level == "byte":
        return bytes(model.example[:PROMPT]).decode("utf-8", "ignore")
    between = " " if model.classes and model.level == "word" else ""
    return between.join(model.tokens[i] for i in model.example[:PROMPT] if i not in model.unwritten)


def _about(model: Model) -> str:
    if model.task not in PAGES:
        raise ExportError(f"a run of task '{model.task}' has no page")
    return f"A recurrent network that {PAGES[model.task]}."
