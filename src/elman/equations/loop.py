"""What is left of a program inside its loop over time, as a program of its own.

What depends on no state is computed for all steps at once, before the loop; the loop takes it as a further input. So
its gradient is that input's, and the large products in front of a loop are no concern of what runs the loop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from elman.equations.node import Extra, Node
from elman.equations.program import Program


@dataclass(frozen=True)
class Loop:
    """The inside of a program's loop: ``hoisted`` are the nodes of the whole that its extras stand for, in order."""

    program: Program
    hoisted: tuple[int, ...]


def loop_of(program: Program) -> Loop:
    """The inside of ``program``'s loop.

    >>> import elman
    >>> loop = loop_of(elman.cells.get("gru").program())
    >>> [node.op for node in loop.program.nodes if node.op in ("product", "vector")]
    ['product', 'product', 'product']
    >>> [extra.name for extra in loop.program.extras]
    ['given0', 'given1', 'given2', 'given3']
    """
    results = [program.output, *(s.new for s in program.states)]
    olds = {s.old for s in program.states}
    read = [a for i in sorted(program.recurrent) for a in program.nodes[i].args] + results
    outside = sorted({i for i in read if i not in program.recurrent})
    constants = [i for i in outside if program.nodes[i].op == "constant"]
    hoisted = [i for i in outside if program.nodes[i].op != "constant"]
    order = [*hoisted, *constants, *sorted(program.recurrent | olds)]
    moved = {old: new for new, old in enumerate(order)}
    extras = [Extra(f"given{k}", program.nodes[i].size) for k, i in enumerate(hoisted)]
    nodes = [Node("extra", size=e.size, name=e.name) for e in extras]
    for i in order[len(hoisted) :]:
        nodes.append(replace(program.nodes[i], args=tuple(moved[a] for a in program.nodes[i].args)))
    used = {node.name for node in nodes if node.op in ("product", "vector")}
    inside = replace(
        program,
        nodes=tuple(nodes),
        states=tuple(replace(s, old=moved[s.old], new=moved[s.new]) for s in program.states),
        extras=tuple(extras),
        output=moved[program.output],
        parameters=tuple(p for p in program.parameters if p.name in used),
        names=(),
    )
    return Loop(inside, tuple(hoisted))
