"""Writing a kernel in Triton's language: loads, stores, and the nodes of a step as expressions.

A value of the equations is a block of rows times units; ``v7`` is node 7, ``f7`` what was fetched for it from memory a
step ahead, ``w7`` the weights of a product. What lies in memory is (T, B, n), or (B, n) where it is one for all steps.
The states of all steps have a step more: that before the first, or behind the last where time runs backwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from elman.backends.plan.plan import Plan
from elman.backends.triton.functions import written
from elman.backends.triton.layout import CHUNKS, ROWS, STREAMED, Variant, padded, spans
from elman.equations import TABLE

TOTALS = ("carried_", "restarted_", "total_", "partial")  # what is summed over steps or units: in float32 at least
AT = "{t} * B + row"  # a step's rows in memory


@dataclass(frozen=True)
class Source:
    """The text of a kernel, the names of what it is given, and how many sums over units its programs exchange."""

    text: str
    arguments: tuple[str, ...]
    partials: int = 0


@dataclass
class Reads:
    """How to have the values that a step does not compute: what is in registers, and what is fetched from memory."""

    there: dict[int, str] = field(default_factory=dict)
    fetched: dict[int, str] = field(default_factory=dict)
    then: dict[int, str] = field(default_factory=dict)  # what becomes of a fetched value, ``{}``

    def __contains__(self, index: int) -> bool:
        return index in self.there or index in self.fetched


class Writer:
    """What both directions have in common: loads, stores, and nodes as expressions."""

    def __init__(self, plan: Plan, variant: Variant) -> None:
        self.plan, self.variant, self.layout = plan, variant, variant.layout
        self.nodes = plan.nodes
        self.head: list[str] = []
        self.lines: list[str] = []
        self.arguments: dict[str, None] = {}
        self.old, self.new = (f"({{t}} + {k}) * B + row" for k in ((1, 0) if variant.reverse else (0, 1)))
        self.stored: dict[int, tuple[str, str, str, str]] = {}  # where the programs store what products read
        self.restarts: dict[int, str] = {}  # the states of rows that begin anew
        self.exchanged: dict[str, str] = {}  # what has been read of whole rows in the step, and its name
        self.streamed: set[int] = set()  # products whose sums are there
        self.order: Sequence[int] = ()
        self.partials = 0
        self._open()

    # The frame

    def _open(self) -> None:
        add, rows = self.head.append, self.layout.rows
        add(f"row = ((group + tl.program_id(0)) * {rows} + tl.arange(0, {rows}))[:, None].to(tl.int64)")
        add("here = row < B")
        add("part = tl.program_id(1)")
        for size in dict.fromkeys(node.size for node in self.nodes):
            if size == "1":
                continue
            n = self.n(size)
            count = self.layout.count(n)
            first = f"part * {count} + " if self.layout.parts > 1 else ""
            add(f"l_{size} = tl.arange(0, {self.layout.block(n)})[None, :]")
            add(f"k_{size} = tl.arange(0, {self.layout.block(n)})[:, None]")
            add(f"u_{size} = {first}l_{size}")
            add(f"in_{size} = (l_{size} < {count}) & (u_{size} < {n})")

    def source(self, name: str, step: str, behind: Iterable[str] = ()) -> Source:
        """The kernel: its head, the loop over time, ``step`` of it the ``turn``-th, and what comes behind."""
        parameters = ", ".join([*self.arguments, "group, B, T, F: tl.constexpr, P: tl.constexpr"])
        lines = [f"def {name}({parameters}):", *(f"    {line}" for line in self.head)]
        lines += ["    for turn in tl.range(0, T, num_stages=1):", f"        t = {step.format('turn')}"]
        lines += [f"        soon = {step.format('tl.minimum(turn + 1, T - 1)')}", *(f"        {x}" for x in self.lines)]
        return Source("\n".join([*lines, *(f"    {x}" for x in behind)]) + "\n", tuple(self.arguments), self.partials)

    def pointer(self, name: str) -> str:
        """An array that the kernel is given."""
        self.arguments.setdefault(name)
        return name

    def add(self, line: str) -> None:
        """A line of the loop's body."""
        self.lines.append(line)

    def n(self, size: str) -> int:
        """How many units a size stands for."""
        return self.plan.sizes[size]

    # Memory

    def _place(self, name: str, where: str, size: str, stride: str, first: str) -> tuple[str, str]:
        """Where this program's rows and units of an array stand, and which of them are there."""
        units = "" if size == "1" else f" + u_{size}"
        mask = "here" if size == "1" else f"here & in_{size}"
        return f"{self.pointer(name)}{first} + ({where}) * {stride or self.n(size)}{units}", mask

    def load(self, name: str, where: str, size: str, stride: str = "", first: str = "") -> str:
        """This program's rows and units of an array, at ``where``."""
        start, mask = self._place(name, where, size, stride, first)
        return f"tl.load({start}, mask={mask}, other=0.0).to(F)"

    def store(self, name: str, where: str, size: str, value: str, stride: str = "", first: str = "") -> str:
        """Store ``value`` there."""
        start, mask = self._place(name, where.format(t="t"), size, stride, first)
        return f"tl.store({start}, {self.whole(value, size)}, mask={mask})"

    def whole(self, value: str, size: str) -> str:
        """A value in the full shape of its block."""
        return f"{value} + {self.zeros(size)}"

    def zeros(self, size: str) -> str:
        """Zeros in the shape of a block."""
        units = 1 if size == "1" else self.layout.block(self.n(size))
        return f"tl.zeros([{self.layout.rows}, {units}], F)"

    def fetch(self, name: str, expression: str) -> None:
        """Have ``f{name}`` read from memory a step ahead; ``expression`` says how, at step ``{t}``."""
        self.head.append(f"f{name} = {expression.format(t='begin')}")

    def masks(self) -> list[tuple[str, str]]:
        """Read which rows are running, and which begin anew; returns how, for the step after."""
        ahead = []
        for name, is_there in (("valid", self.variant.valid), ("reset", self.variant.reset)):
            if is_there:
                read = f"tl.load({self.pointer(name)} + {AT}, mask=here, other=0) != 0"
                self.fetch(name, read)
                ahead.append((name, read))
        if self.variant.valid:
            self.add("ok = fvalid")
        if self.variant.reset:
            self.add("anew = freset & ok" if self.variant.valid else "anew = freset")
        return ahead

    def given(self) -> Reads:
        """How to read each further input; what is one for all steps is read before the loop."""
        reads = Reads()
        kinds = {e.name: kind for e, kind in zip(self.plan.program.extras, self.variant.kinds, strict=True)}
        for i, node in enumerate(self.plan.program.nodes):
            if node.op != "extra":
                continue
            if kinds[node.name] == "steps":
                self.pointer(node.name)
                reads.fetched[i] = self.load(node.name, AT, node.size, self.pointer(f"{node.name}_stride"))
            else:
                is_for_all = kinds[node.name] == "all"
                read = self._for_all(node.name, node.size) if is_for_all else self.load(node.name, "row", node.size)
                self.head.append(f"c{i} = {read}")
                reads.there[i] = f"c{i}"
        return reads

    def _for_all(self, name: str, size: str) -> str:
        units, mask = ("tl.arange(0, 1)[None, :]", "here") if size == "1" else (f"u_{size}", f"in_{size}")
        more = " + 0 * row" if size == "1" else ""
        return f"tl.load({self.pointer(name)} + {units}{more}, mask={mask}, other=0.0).to(F)"

    # Nodes

    def needed(self, roots: Iterable[int], reads: Reads) -> list[int]:
        """The nodes that ``roots`` depend on, in order; nothing is asked of those that can be read."""
        seen, open_ = set[int](), list(roots)
        while open_:
            i = open_.pop()
            if i not in seen:
                seen.add(i)
                open_.extend(() if i in reads else self._args(i))
        return sorted(seen)

    def _args(self, index: int) -> list[int]:
        node = self.nodes[index]
        numbers = TABLE[node.op].number_arguments if node.op in TABLE else ()
        return [a for position, a in enumerate(node.args) if position not in numbers]

    def expression(self, index: int) -> str:
        """Node ``index`` from its arguments."""
        node = self.nodes[index]
        if node.op == "constant":
            value = node.value
            number = sum(self.n(s) for s in value) if isinstance(value, tuple) else value or 0
            return f"tl.full([1, 1], {_literal(number)}, F)"
        if node.op == "total":
            return " + ".join(self._sum(a) for a in node.args)
        if node.op == "product":
            return self.product(index)
        row = TABLE[node.op]
        numbers = {i: _literal(self.nodes[node.args[i]].value) for i in row.number_arguments}
        text = written(node.op)
        assert text is not None
        return text.format(*(numbers.get(i, f"v{a}") for i, a in enumerate(node.args)))

    def _sum(self, index: int) -> str:
        size = self.nodes[index].size
        if size == "1":
            return f"v{index}"
        return f"tl.sum(tl.where(in_{size}, {self.whole(f'v{index}', size)}, 0.0), axis=1, keep_dims=True)"

    # Products

    def product(self, index: int) -> str:
        """A product; where rows are exchanged, its operand is read from memory."""
        node = self.nodes[index]
        size, of, operand = node.size, self.nodes[node.args[0]].size, f"v{node.args[0]}"
        if of == "1":
            units, there = ("0 * row", "here") if size == "1" else (f"u_{size}", f"in_{size}")
            return f"{operand} * {self._weight(index, '0', units, there)}"
        if size == "1":
            weight = self._weight(index, f"u_{of}", "0", f"in_{of}")
            return f"tl.sum(tl.where(in_{of}, {operand} * {weight}, 0.0), axis=1, keep_dims=True)"
        if self.layout.exchanged:
            return self._product_of_all(index)
        count = self.layout.count(self.n(of))
        first = f"part * {count} + " if self.layout.parts > 1 else ""  # a block is a program's
        there = f"(k_{of} < {count}) & in_{size}"
        self.head.append(f"w{index} = {self._weight(index, f'{first}k_{of}', f'u_{size}', there)}")
        return _dot(f"tl.where(in_{of}, {self.whole(operand, of)}, 0.0)", f"w{index}")

    def _product_of_all(self, index: int) -> str:
        """The product of whole rows with the weights of this program's units, in chunks that its warps share out."""
        operand = self.nodes[index].args[0]
        first, n = self._block(index)
        if not self.layout.held:
            if index not in self.streamed:
                self._stream(index)
            return f"tl.sum(a{index}, axis=0)"
        terms = []
        for number, (start, length) in enumerate(spans(n)):
            k, there = _chunks(f"{first} + {start}", length, f"{first} + {n}")
            row = self._row(operand, k, there)
            if row not in self.exchanged:
                self.exchanged[row] = f"o{len(self.exchanged)}"
                self.add(f"{self.exchanged[row]} = {row}")
            self.head.append(f"w{index}_{number} = {self._weights_of(index, k, there)}")
            terms.append(f"tl.sum({_dot(self.exchanged[row], f'w{index}_{number}')}, axis=0)")
        return " + ".join(terms)

    def _stream(self, index: int) -> None:
        """A product and all others of the same units of a row, their weights read at every step."""
        first, n = self._block(index)
        operand = self.nodes[index].args[0]
        alike = [i for i in self.order if self.nodes[i].op == "product" and self.nodes[i].args == (operand,)]
        products = [i for i in alike if self.nodes[i].size != "1" and self._block(i) == (first, n)]
        k, there = _chunks(f"{first} + start", STREAMED, f"{first} + {n}")
        count = _chunk(STREAMED)[1]
        for i in products:
            units = self.layout.block(self.plan.n(i))
            self.add(f"a{i} = tl.zeros([{count}, {self.layout.rows}, {units}], F)")
        self.add(f"for start in tl.range(0, {n}, {STREAMED}, num_stages=2):")
        self.add(f"    o{operand} = {self._row(operand, k, there)}")
        for i in products:
            self.add(f"    w{i} = {self._weights_of(i, k, there)}")
            self.add(f"    a{i} += {_dot(f'o{operand}', f'w{i}')}")
        self.streamed.update(products)

    def _weights_of(self, index: int, k: str, there: str) -> str:
        size = self.nodes[index].size
        mask = f"{there}[:, :, None] & in_{size}[None, :, :]"
        return self._weight(index, f"{k}[:, :, None]", f"u_{size}[None, :, :]", mask)

    def _block(self, index: int) -> tuple[str, int]:
        """The first unit and the number of units of the operand that this program's units of a product depend on."""
        node = self.nodes[index]
        out, of = self.plan.n(index) // node.blocks, self.plan.n(node.args[0]) // node.blocks
        count = self.layout.count(self.plan.n(index))
        if node.blocks == 1 or out % count:
            return "0", self.plan.n(node.args[0])
        return f"part * {count} // {out} * {of}", of

    def _row(self, index: int, k: str, there: str) -> str:
        """Units ``k`` of a row that the programs have stored; past the cache of one processor."""
        name, where, stride, first = self.stored[index]
        n = self.plan.n(index)
        row = where.format(t="t").replace("row", "row[None, :, :]")
        start = f"{self.pointer(name)}{first} + ({row}) * {stride or n} + {k}[:, None, :]"
        mask = f"mask=here[None, :, :] & {there}[:, None, :], other=0.0"
        value = f'tl.load({start}, {mask}, cache_modifier=".cg")'
        if index not in self.restarts:
            return value
        initial = f"tl.load({self.pointer(self.restarts[index])} + row[None, :, :] * {n} + {k}[:, None, :], {mask})"
        return f"tl.where(anew[None, :, :], {initial}, {value})"

    def _weight(self, index: int, k: str, j: str, mask: str) -> str:
        """The weights from units ``k`` of the operand to units ``j`` of the product."""
        node = self.nodes[index]
        name, row = self.plan.rows_of(index)
        columns = self.plan.columns_of(name)
        r, c = (k, j) if node.transposed else (j, k)
        if node.blocks > 1:
            of = self.plan.n(node.args[0]) if node.transposed else self.plan.n(index)
            mask = f"{mask} & (({r}) // {of // node.blocks} == ({c}) // {columns})"
            c = f"(({c}) % {columns})"
        return f"tl.load({self.pointer(name)} + ({row} + {r}) * {columns} + {c}, mask={mask}, other=0.0)"

    # A step

    def step(self, order: Sequence[int], reads: Reads, after: Mapping[int, Sequence[str]],
             masks: Sequence[tuple[str, str]]) -> None:  # fmt: skip
        """The nodes of a step, each with what is to be done ``after`` it, and fetching for the next.

        Before what needs other programs' units all of them meet.
        """
        self.order, depth = order, dict[int, int]()
        for i in order:
            args = () if i in reads else self._args(i)
            depth[i] = max((depth[a] for a in args), default=0) + self._crosses(i, reads)
        summed = [i for i in order if self._crosses(i, reads) and self.nodes[i].size == "1"]
        slots = {i: slot for slot, i in enumerate(summed)}
        ahead = [*masks, *((str(i), reads.fetched[i]) for i in order if i in reads.fetched)]
        for i in order:
            if i in reads.fetched:
                self.fetch(str(i), reads.fetched[i])
        for level in range(max(depth.values(), default=0) + 1):
            now = [i for i in order if depth[i] == level]
            if level:
                self._meet([i for i in now if i in slots], slots)
            for i in now:
                self.add(f"v{i} = {self._value(i, reads, slots)}")
                self.lines.extend(after.get(i, ()))
            if not level:
                self.lines.extend(f"f{name} = {expression.format(t='soon')}" for name, expression in ahead)
        self.partials = len(slots)

    def _value(self, index: int, reads: Reads, slots: Mapping[int, int]) -> str:
        if index in reads.there:
            return reads.there[index]
        if index in reads.fetched:
            return reads.then.get(index, "{}").format(f"f{index}")
        return self._sum_of_all(index, slots) if index in slots else self.expression(index)

    def _crosses(self, index: int, reads: Reads) -> bool:
        """Whether a node needs units of other programs."""
        node = self.nodes[index]
        wide = any(self.nodes[a].size != "1" for a in node.args)
        return self.layout.exchanged and index not in reads and node.op in ("product", "total") and wide

    def _meet(self, summed: Iterable[int], slots: Mapping[int, int]) -> None:
        """Store what this program's units give to each sum over all, and wait for the others."""
        for i in summed:
            wide = [a for a in self.nodes[i].args if self.nodes[a].size != "1"]
            own = self.product(i) if self.nodes[i].op == "product" else " + ".join(self._sum(a) for a in wide)
            self.add(f"tl.store({self._partial(slots[i], len(slots), 'part')}, {own}, mask=here)")
        if "met = 0" not in self.head:
            self.head.append("met = 0")
        self.add(f"met += {self.layout.parts}")
        self.add(f"meet({self.pointer('arrived')} + group + tl.program_id(0), met)")

    def _sum_of_all(self, index: int, slots: Mapping[int, int]) -> str:
        of = f"tl.arange(0, {padded(self.layout.parts)})[None, :]"
        start = self._partial(slots[index], len(slots), of)
        there = f"here & ({of} < {self.layout.parts})"
        value = f'tl.sum(tl.load({start}, mask={there}, other=0.0, cache_modifier=".cg"), axis=1, keep_dims=True)'
        single = [a for a in self.nodes[index].args if self.nodes[a].size == "1"]
        return " + ".join([value, *(f"v{a}" for a in single)])

    def _partial(self, slot: int, slots: int, part: str) -> str:
        """Where a program's part of a sum is: a place for even steps and one for odd, for some may be a step ahead."""
        return f"{self.pointer('partial')} + (((t % 2) * {slots} + {slot}) * {self.layout.parts} + {part}) * B + row"


def _chunk(length: int) -> tuple[int, int]:
    """The length of a chunk, and how many there are, where so many units are multiplied at once."""
    chunk = max(ROWS, length // CHUNKS)
    return chunk, max(1, length // chunk)


def _chunks(first: str, length: int, end: str) -> tuple[str, str]:
    """The units from ``first`` on, chunks times units of each, and which of them are there."""
    chunk, count = _chunk(length)
    k = f"({first} + tl.arange(0, {count})[:, None] * {chunk} + tl.arange(0, {chunk})[None, :])"
    return k, f"({k} < {end})"


def _dot(a: str, b: str) -> str:
    """The product of two blocks, in the dtype of the second, summed in ``F``."""
    return f"tl.dot(({a}).to({b}.dtype), {b}, input_precision=P, out_dtype=F)"


def _literal(value: object) -> str:
    number = float(value)  # type: ignore[arg-type]
    return f'float("{number}")' if number != number or number in (float("inf"), float("-inf")) else repr(number)
