"""A loop's two kernels as text: the equations of a step inside the loop over time, and of its adjoint."""

from __future__ import annotations

from collections import defaultdict

from elman.backends.plan.plan import Plan
from elman.backends.triton.layout import Variant
from elman.backends.triton.writer import AT, Source, Writer


def forward(plan: Plan, variant: Variant) -> Source:
    """The kernel that runs a sequence: states of all steps, output, and what the backward pass will read."""
    w = Writer(plan, variant)
    program, step = plan.program, "T - 1 - {}" if variant.reverse else "{}"
    w.head.append(f"begin = {step.format('0')}")
    masks, reads = w.masks(), w.given()
    after: dict[int, list[str]] = defaultdict(list)
    behind: list[str] = []
    kept = kept_by(plan, variant)
    read = {node.args[0] for node in program.nodes if node.op == "product"}  # by other programs, from memory
    for i in kept:
        after[i].append(w.store(f"kept_{i}", AT, plan.nodes[i].size, f"v{i}"))
        w.stored[i] = (f"kept_{i}", AT, "", "")
    for k, state in enumerate(program.states):
        name, size = f"steps_{state.name}", state.size
        w.head.append(f"h{k} = {w.load(name, w.old.format(t='begin'), size)}")
        reads.there[state.old] = f"h{k}"
        if variant.reset:
            w.head.append(f"i{k} = {w.load(f'initial_{state.name}', 'row', size)}")
            reads.there[state.old] = f"tl.where(anew, i{k}, h{k})"
            w.restarts[state.old] = f"initial_{state.name}"
        value = w.whole(f"v{state.new}", size)
        chosen = f"tl.where(ok, {value}, {reads.there[state.old]})" if variant.valid else value
        after[state.new].append(f"n{k} = {chosen}")
        is_output = k == 0 and shares_output(plan, variant)
        if variant.keep or is_output or (variant.layout.exchanged and read & {state.old, state.new}):
            after[state.new].append(w.store(name, w.new, size, f"n{k}"))
        else:
            end = w.new.format(t=step.format("(T - 1)"))
            behind.append(w.store(name, end, size, f"h{k}"))
        w.stored.setdefault(state.new, (name, w.new, "", ""))
        w.stored[state.old] = (name, w.old, "", "")
    if not shares_output(plan, variant):
        output = f"tl.where(ok, v{program.output}, 0.0)" if variant.valid else f"v{program.output}"
        after[program.output].append(w.store("output", AT, program.output_size, output))
    w.step(w.needed([program.output, *(s.new for s in program.states), *kept], reads), reads, after, masks)
    for k, _ in enumerate(program.states):
        w.add(f"h{k} = n{k}")
    return w.source("forward", step, behind)


def shares_output(plan: Plan, variant: Variant) -> bool:
    """Whether the output is the first state of all steps, and so is not written again."""
    return not variant.valid and plan.program.output == plan.program.states[0].new


def kept_by(plan: Plan, variant: Variant) -> list[int]:
    """What a forward pass writes to memory beside the states: what the backward pass reads, what programs exchange."""
    if variant.keep:
        return [*plan.saved, *plan.computed]
    return [*plan.computed] if variant.layout.exchanged else []


def backward(plan: Plan, variant: Variant) -> Source:
    """The kernel that runs backwards: columns, gradients of the further inputs and of the states before."""
    w = Writer(plan, variant)
    program, nodes, step = plan.program, plan.nodes, "{}" if variant.reverse else "T - 1 - {}"
    w.head.append(f"begin = {step.format('0')}")
    masks, reads = w.masks(), w.given()
    for i in (*plan.saved, *plan.computed):
        reads.fetched[i] = w.load(f"kept_{i}", AT, nodes[i].size)
    for i, k in plan.from_state.items():
        if i not in reads:
            reads.fetched[i] = w.load(f"steps_{program.states[k].name}", w.new, program.states[k].size)
    arriving = {}
    for k, state in enumerate(program.states):
        w.head.append(f"g{k} = {w.load(f'carried_{state.name}', 'row', state.size)}")
        reads.fetched[state.old] = w.load(f"steps_{state.name}", w.old, state.size)
        arriving[state.name] = f"g{k}"
        if variant.reset:
            w.head.append(f"r{k} = {w.load(f'restarted_{state.name}', 'row', state.size)}")
            w.head.append(f"i{k} = {w.load(f'initial_{state.name}', 'row', state.size)}")
            reads.then[state.old] = f"tl.where(anew, i{k}, {{}})"
    for i, node in enumerate(nodes):
        if node.op == "cotangent" and node.name:
            reads.there[i] = arriving[node.name]
        elif node.op == "cotangent":
            reads.fetched[i] = w.load("d_output", AT, node.size)
    after = {}
    for i, column in plan.columns.items():
        # Of a row that is over the state held, and is not what the step would have computed: all may come out of it.
        after[i] = [f"v{i} = tl.where(ok, v{i}, 0.0)"] if variant.valid else []
        after[i].append(w.store("columns", AT, nodes[i].size, f"v{i}", f"{plan.width}", f" + {column}"))
        w.stored[i] = ("columns", AT, f"{plan.width}", f" + {column}")
    w.step(w.needed(plan.wanted, reads), reads, after, masks)
    return w.source("backward", step, [*_further(plan, w), *_carried(plan, w)])


def _carried(plan: Plan, w: Writer) -> list[str]:
    """Pass the gradients of the old states on to the step before; returns what comes behind the loop."""
    targets, behind = dict(plan.targets()), []
    states = plan.program.states
    for k, state in enumerate(states):
        into = targets.get(f"state:{state.name}")
        value = w.zeros(state.size) if into is None else w.whole(f"v{into}", state.size)
        w.add(f"n{k} = {f'tl.where(ok, {value}, g{k})' if w.variant.valid else value}")
        if w.variant.reset:
            w.add(f"r{k} += tl.where(anew, n{k}, 0.0)")
            w.add(f"n{k} = tl.where(anew, 0.0, n{k})")
            behind.append(w.store(f"restarted_{state.name}", "row", state.size, f"r{k}"))
        behind.append(w.store(f"carried_{state.name}", "row", state.size, f"g{k}"))
    for k, _ in enumerate(states):
        w.add(f"g{k} = n{k}")
    return behind


def _further(plan: Plan, w: Writer) -> list[str]:
    """Store the gradients of further inputs, or add them up where one is for all steps; returns what comes behind."""
    behind = []
    named = {f"extra:{e.name}": (e, kind) for e, kind in zip(plan.program.extras, w.variant.kinds, strict=True)}
    for name, i in plan.targets():
        if name not in named:
            continue
        extra, kind = named[name]
        value = f"tl.where(ok, v{i}, 0.0)" if w.variant.valid else f"v{i}"
        if kind != "steps":
            total = f"total_{extra.name}"
            w.head.append(f"s_{extra.name} = {w.load(total, 'row', extra.size)}")
            w.add(f"s_{extra.name} += {value}")
            behind.append(w.store(total, "row", extra.size, f"s_{extra.name}"))
        elif i not in plan.columns:
            w.add(w.store(f"d_{extra.name}", AT, extra.size, value))
    return behind
