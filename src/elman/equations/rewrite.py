"""Programs made from programs: what a layer adds to a cell's equations and no cell writes itself.

Dropout of states and zoneout become further inputs of the program, so that every backend and the adjoint take
them as they take everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from elman.equations.graph import Graph, Size, Symbol
from elman.equations.node import Extra, Node
from elman.equations.program import Program

DROP, ZONE = "drop_", "zone_"


def with_dropped_states(program: Program) -> Program:
    """The program whose products see each state times the further input ``drop_{state}`` (Gal & Ghahramani 2016).

    >>> import elman
    >>> [e.name for e in with_dropped_states(elman.cells.get("lstm").program()).extras]
    ['drop_h']
    """
    graph, moved, dropped = Graph(), dict[int, int](), dict[int, int]()
    extras = []
    multiplied = {a for node in program.nodes if node.op == "product" for a in node.args}
    for i, node in enumerate(program.nodes):
        source = {**moved, **dropped} if node.op == "product" else moved
        symbol = graph.add(replace(node, args=tuple(source[a] for a in node.args), size="1"), Size(node.size))
        moved[i] = symbol.index
        if node.op == "state" and i in multiplied:
            extras.append(Extra(DROP + node.name, node.size))
            dropped[i] = (symbol * graph.add(Node("extra", name=DROP + node.name), Size(node.size))).index
    return _program(program, graph, moved, moved, extras)


def with_zoneout(program: Program) -> Program:
    """The program whose new states are z old + (1 - z) new, z the further input ``zone_{state}`` (Krueger et al. 2017).

    >>> import elman
    >>> [e.name for e in with_zoneout(elman.cells.get("lstm").program()).extras]
    ['zone_h', 'zone_c']
    """
    graph = Graph()
    for node in program.nodes:
        # Appended and not added: a node that stands twice (of two sizes, say) must keep its place.
        graph.append(replace(node, size="1"), Size(node.size))
    same = {i: i for i in range(len(program.nodes))}
    new, extras = dict(same), []
    for state in program.states:
        z = graph.add(Node("extra", name=ZONE + state.name), Size(state.size))
        extras.append(Extra(ZONE + state.name, state.size))
        zoned: Symbol = z * Symbol(graph, state.old) + (1 - z) * Symbol(graph, state.new)
        new[state.new] = zoned.index
    return _program(program, graph, same, new, extras)


def _program(
    program: Program, graph: Graph, moved: Mapping[int, int], results: Mapping[int, int], extras: list[Extra]
) -> Program:
    """``program`` with the nodes of ``graph``; ``moved`` says where its nodes went, ``results`` its new states."""
    return replace(
        program,
        nodes=tuple(replace(n, size=s.name) for n, s in zip(graph.nodes, graph.sizes, strict=True)),
        states=tuple(replace(s, old=moved[s.old], new=results[s.new]) for s in program.states),
        extras=program.extras + tuple(extras),
        output=results[program.output],
        names=tuple((moved[i], name) for i, name in program.names),
    )
