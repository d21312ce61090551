"""A step's pointwise work as expressions of a language that writes them as C does: the column ``code`` of the table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from elman.equations import TABLE
from elman.equations.ops import ATOM, COMPARISON
from elman.stepping import Flat, Loop, Order

FUNCTION = re.compile(r"^(\w+)\(")
LONGEST = 100  # characters of an expression before it is cut into steps


@dataclass
class Expressions:
    """Writes expressions. ``number`` writes a constant, ``whole`` value i of a loop's unit, kept or coming in;
    ``prefix`` stands before the names of functions."""

    flat: Flat
    order: Order
    number: Callable[[float], str]
    whole: Callable[[int], str]
    prefix: str
    functions: set[str] = field(default_factory=set)  # those used so far

    def __post_init__(self) -> None:
        self.names: list[str] = _names(self.flat)
        self.uses: Counter[int] = Counter(a for v in self.flat.values for a in v.args)

    def statements(self, loop: Loop) -> Iterator[tuple[int, str, str]]:
        """The values of a loop that get a name, each with that name and its expression, in order."""
        inside, inlined = set(loop.values), dict[int, tuple[str, int]]()
        for i in loop.values:
            text, binds = self._expression(i, inside, inlined)
            once = self.uses[i] == 1 and not self.flat.values[i].label and i not in self.order.kept
            if once and len(text) < LONGEST:
                inlined[i] = text, binds
            else:
                yield i, self.names[i], text

    def _expression(self, i: int, inside: set[int], inlined: dict[int, tuple[str, int]]) -> tuple[str, int]:
        value = self.flat.values[i]
        row = TABLE[value.op]
        binds = row.argument_binds
        args = []
        for k, a in enumerate(value.args):
            text, tight = inlined.get(a) or (self._argument(a, inside), ATOM)
            args.append(text if tight >= (binds[k] if k < len(binds) else COMPARISON) else f"({text})")
        code = row.code.format(*args)
        if row.code == "-{}":
            code = f"-{args[0]}" if not args[0].startswith("-") else f"-({args[0]})"
        if called := FUNCTION.match(row.code):
            self.functions.add(called[1])
            return self.prefix + code, ATOM
        return code, row.binds if not row.code.startswith("(") else ATOM

    def _argument(self, a: int, inside: set[int]) -> str:
        value = self.flat.values[a]
        if value.op == "constant":
            text = self.number(value.number)
            return f"({text})" if text.startswith("-") else text
        return self.names[a] if a in inside else self.whole(a)


def _names(flat: Flat) -> list[str]:
    """A name for each value that can stand in code: the equations' own where there is one."""
    taken, names = Counter[str](), []
    for i, value in enumerate(flat.values):
        name = re.sub(r"\W", "_", value.label) if value.label.isascii() else ""
        name = name if name and not name[0].isdigit() else f"v{i}"
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"{name}_v{i}")
    return names


def c_name(text: str) -> str:
    """A name as C, and JavaScript, take it."""
    return "".join(c if c.isascii() and (c.isalnum() or c == "_") else f"_{ord(c):x}" for c in text)
