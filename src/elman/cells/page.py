"""The catalogue as a page: docs/cells.md is what this writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from elman.cells.registry import ALIASES, REGISTRY
from elman.equations import Cell, Program, equations
from elman.equations.node import Parameter

INTRODUCTION = """# The catalogue of cells

Written by `elman cells --markdown`, from the equations that run. `elman cells lstm` shows one of them as text, and
[CONTRIBUTING](../CONTRIBUTING.md) how one is added. Any of them makes a layer:

```python
import torch

import elman

layer = elman.Recurrent("gru", input_size=3, hidden_size=16)
output, state = layer(torch.randn(5, 2, 3))  # (T, B, I) to (T, B, H)
print("\\n".join(elman.equations.equations(elman.cells.get("gru").program())))
```

$W_{fx}$ is the weight of projection f for x, $b_f$ its bias, $\\odot$ the product unit by unit, $\\sigma$ the logistic
function. Shapes are by letter: I input, H hidden size; other names are sizes that a layer takes by keyword. A stage is
a product that must wait for another value of the same step; *elementwise* means that no product waits for the state.
"""
NO_SPEED = (
    "The speed has not been measured here: `elman bench --catalogue --json > speed.json`, then `--speed speed.json`.\n"
)
LETTERS = {"input": "I", "hidden": "H"}


def page(speeds: Mapping[str, str], measured: str = "") -> str:
    """docs/cells.md. ``speeds`` is a text a cell for the column of speeds, ``measured`` how they were taken.

    >>> "## lstm" in page({})
    True
    """
    lines = [INTRODUCTION, f"{measured}\n" if speeds else NO_SPEED, *_table(speeds), ""]
    for cell in REGISTRY.values():
        lines += [*_section(cell, speeds.get(cell.name, "")), ""]
    return "\n".join(lines)


def _table(speeds: Mapping[str, str]) -> Iterator[str]:
    yield "| cell | when | states | recurrence | speed |"
    yield "|---|---|---|---|---|"
    for cell in REGISTRY.values():
        states, kind = ", ".join(cell.states), cell.program().kind
        yield f"| [{cell.name}](#{cell.name}) | {_code(cell.when)} | {states} | {kind} | {speeds.get(cell.name, '')} |"


def _section(cell: Cell, speed: str) -> Iterator[str]:
    program = cell.program()
    yield f"## {cell.name}\n\n{cell.source}\n\n*When:* {_code(cell.when)}\n"
    yield from (f"{_code(note)}\n" for note in cell.notes)
    yield "```math\n\\begin{aligned}"
    yield " \\\\\n".join(line.replace(" = ", " &= ", 1) for line in equations(program, latex=True))
    yield "\\end{aligned}\n```\n"
    yield "| parameter | shape | rows |\n|---|---|---|"
    yield from (f"| `{p.name}` | {shape(p)} | {', '.join(name for name, _ in p.rows)} |" for p in program.parameters)
    yield ""
    yield from _facts(cell, program)
    if speed:
        yield f"- speed: {speed}"


def _facts(cell: Cell, program: Program) -> Iterator[str]:
    also = [alias for alias, name in ALIASES.items() if name == cell.name]
    facts = {
        "states": ", ".join(f"{s.name} ({_letter(s.size)})" for s in program.states),
        "recurrence": program.kind,
        "also called": ", ".join(also),
        "options": ", ".join(f"`{k}={v!r}`" for k, v in cell.options.items()),
        "further inputs": ", ".join(f"{e.name} ({_letter(e.size)})" for e in program.extras),
        "sizes of its own": ", ".join(f"`{name}`" for name in program.size_names),
    }
    yield from (f"- {name}: {text}" for name, text in facts.items() if text)


def shape(parameter: Parameter) -> str:
    """The shape in letters.

    >>> from elman.cells import get
    >>> [shape(p) for p in get("lstm").program().parameters]
    ['(4 H, I)', '(4 H, H)', '(4 H)', '(4 H)']
    """
    counts = Counter(size for _, size in parameter.rows)
    rows = " + ".join(f"{n} {_letter(size)}" if n > 1 else _letter(size) for size, n in counts.items())
    columns = _letter(parameter.columns) if parameter.columns else ""
    if parameter.blocks > 1:
        columns += f" / {parameter.blocks}"
    return f"({rows}, {columns})" if columns else f"({rows})"


def _letter(size: str) -> str:
    return LETTERS.get(size, size)


def _code(text: str) -> str:
    """A docstring's marks of code as a page has them."""
    return text.replace("``", "`")
