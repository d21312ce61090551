"""A trained model as C99: a header, the code, a test with recorded values, and what to know of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from elman import __version__
from elman.export.c import CStep, c_number, in_eight_bits, wrapped
from elman.export.c_functions import preamble
from elman.export.c_text import FORECAST, LOADED, ODDS, ONCE, READ, README, RESET, STEP_OF_ONE, TEST, TRIED, filled
from elman.export.expressions import c_name
from elman.stepping.model import Model, Standing
from elman.stepping.stream import Stream

RECORDED = 64  # steps in the test
TOLERANCE = 1e-5  # of the largest value: what the test allows


@dataclass(frozen=True)
class CFiles:
    """The files by name, and what they take: ``sizes`` in bytes by what."""

    files: dict[str, str | bytes]
    sizes: dict[str, int]


def c_files(model: Model, name: str, int8: bool = False, apart: bool = False) -> CFiles:
    """Write ``model`` as C called ``name``; its weights as ``int8``, and ``apart`` in a file to map.

    Raises :class:`ExportError` where an operation has no form in C.
    """
    if int8:
        rounded = tuple(map(in_eight_bits, model.networks))
        model = replace(model, flats=lambda: rounded)
    apart = apart and bool(model.networks)  # a line alone has no weights to speak of
    packed = bytearray() if apart else None
    marks = [""] if len(model.networks) < 2 else [f"_{i}" for i in range(len(model.networks))]
    steps = [
        CStep(flat, name, mark, int8=int8, packed=packed) for flat, mark in zip(model.networks, marks, strict=False)
    ]
    writer = _Writer(model, name, steps)
    code = writer.code(packed)
    files: dict[str, str | bytes] = {f"{name}.h": writer.header(apart), f"{name}.c": code}
    if packed is not None:
        files[f"{name}.weights"] = bytes(packed)
    files[f"test_{name}.c"] = writer.test(0 if packed is None else len(packed))
    sizes = {
        "weights": sum(step.bytes for step in steps) + writer.line_bytes,
        "state": writer.state_bytes,
        "stack": writer.stack_bytes,
    }
    files["README.md"] = writer.readme(sizes, apart, int8)
    return CFiles(files, sizes)


class _Writer:
    def __init__(self, model: Model, name: str, steps: list[CStep]) -> None:
        self.model, self.name, self.steps = model, name, steps
        self.loud = name.upper()
        self.line_bytes = 0
        columns, net = len(model.columns), sum(m.size for s in steps for m in s.flat.memories)
        self.is_forecast = model.task == "forecast"
        held = 8 * columns * (model.context + 1) + 8 if self.is_forecast else 0
        self.state_bytes = 4 * net + held
        arrays = [int(n) for s in steps for n in re.findall(r"^float \w+\[(\d+)\];", s.body, re.MULTILINE)]
        self.stack_bytes = 4 * sum(arrays) + 8 * columns * (model.context + 1 + 2 * model.horizon) * self.is_forecast

    @property
    def value(self) -> str:
        """What comes in, as a parameter."""
        return "int symbol" if self.model.tokens else "const double *values"

    @property
    def result(self) -> str:
        """What comes out, as a parameter."""
        if self.is_forecast:
            return "double *forecast"
        return "float *probabilities" if self.model.classes else "float *scores"

    # The header

    def header(self, apart: bool) -> str:
        """The .h."""
        model, name, loud = self.model, self.name, self.loud
        nets = [
            line
            for step in self.steps
            for line in (
                ["    struct {", *(f"        {f}" for f in step.fields() or ["char none;"]), f"    }} net{step.mark};"]
            )
        ]
        held = [f"    double window[{model.context + 1}][{len(model.columns)}];", "    long count;"]
        fields = "\n".join([*nets, *(held if self.is_forecast else [])])
        weights = f"void {name}_use_weights(const void *weights);\n" if apart else ""
        about = (
            f"/* The bytes of {name}.weights, aligned to 64; they must stay there. Before all else. */\n"
            if apart
            else ""
        )
        return f"""/* {name}: a recurrent network, written by Elman {__version__}. C99, no allocation. */
#ifndef {loud}_H
#define {loud}_H

{self._constants()}
typedef struct {{
{fields}
}} {name};

{about}{weights}/* Begin anew. {name}_init and {name}_reset are the same. */
void {name}_init({name} *m);
void {name}_reset({name} *m);
{self._promise()}
{self._lists()}
#endif
"""

    def _constants(self) -> str:
        model, loud = self.model, self.loud
        numbers: dict[str, int] = {}
        if model.columns:
            numbers["COLUMNS"] = len(model.columns)
        if self.is_forecast:
            numbers |= {"HORIZON": model.horizon, "CONTEXT": model.context}
        if model.tokens:
            numbers["SYMBOLS"] = len(model.tokens)
        if model.classes:
            numbers["CLASSES"] = len(model.classes)
        return "\n".join(f"#define {loud}_{key} {number}" for key, number in numbers.items()) + "\n"

    def _promise(self) -> str:
        name, loud = self.name, self.loud
        if self.is_forecast:
            when = f"once {loud}_CONTEXT values have come" if self.model.context else "always"
            return f"""/* Take the next value of each column, in the units of the data. Forecast: {loud}_HORIZON rows of
   {loud}_COLUMNS numbers. Returns 1 where there is one ({when}), and 0 otherwise. */
int {name}_step({name} *m, {self.value}, {self.result});"""
        taken = f"a symbol, 0 to {loud}_SYMBOLS - 1" if self.model.tokens else "the next value of each column"
        out = f"a probability a class ({loud}_CLASSES)" if self.model.classes else f"a score a symbol ({loud}_SYMBOLS)"
        return (
            f"/* Take {taken}, and give {out} after it. */\nvoid {name}_step({name} *m, {self.value}, {self.result});"
        )

    def _lists(self) -> str:
        lists = []
        if self.model.tokens:
            lists.append(
                f"/* What each symbol stands for, in UTF-8. */\nextern const char *const {self.name}_tokens[];"
            )
        if self.model.classes:
            lists.append(f"extern const char *const {self.name}_classes[];")
        return "\n".join(lists)

    # The code

    def code(self, packed: bytearray | None) -> str:
        """The .c."""
        name, model = self.name, self.model
        used = set().union(*(step.write.functions for step in self.steps), {"exp"} if model.classes else set())
        sections = [
            f'#include <math.h>\n#include <stdint.h>\n#include <string.h>\n\n#include "{name}.h"\n',
            f"static const unsigned char *{name}_weights;\n" if packed is not None else "",
            preamble(name, "float", used),
        ]
        networks = [self._network(step) for step in self.steps]
        around, reset = self._around(), self._reset()
        # Last of all: what is written above asks for its tables.
        tables = [table for step in self.steps for table in step.tables.values()]
        sections += [*tables, *self._strings(), "", *networks, "", reset, around]
        if packed is not None:
            sections.append(f"void {name}_use_weights(const void *weights) {{\n    {name}_weights = weights;\n}}\n")
        return _without_unused("\n".join(sections))

    def _network(self, step: CStep) -> str:
        name = self.name
        inputs = [
            f"int in_{c_name(n)}" if step.flat.values[i].op == "symbol" else f"const float *in_{c_name(n)}"
            for n, i in step.flat.inputs.items()
        ]
        outputs = [f"float *out_{c_name(n)}" for n in step.flat.outputs]
        body = step.body.replace("s->", f"m->net{step.mark}.").replace("\n", "\n    ")
        unused = "\n".join(f"    (void){part.split()[-1].lstrip('*')};" for part in ["m", *inputs])
        facts = {"P": name, "MARK": step.mark, "ARGUMENTS": ", ".join([*inputs, *outputs]), "UNUSED": unused}
        return filled(ONCE, facts | {"BODY": body})

    def _resets(self) -> list[str]:
        """The statements that set every network to its beginning."""
        return [line.replace("s->", f"m->net{step.mark}.") for step in self.steps for line in step.reset()]

    def _reset(self) -> str:
        own = ["memset(m->window, 0, sizeof m->window);", "m->count = 0;"] if self.is_forecast else []
        return filled(RESET, {"P": self.name, "RESETS": "\n    ".join([*self._resets(), *own])})

    def _strings(self) -> list[str]:
        lists = {"tokens": self.model.tokens, "classes": self.model.classes}
        return [
            f"const char *const {self.name}_{kind}[] = {{\n" + ",\n".join(f"    {_quoted(t)}" for t in texts) + "\n};"
            for kind, texts in lists.items()
            if texts
        ]

    def _around(self) -> str:
        model, name = self.model, self.name
        if self.is_forecast:
            return self._forecast()
        facts = {"P": name, "C": len(model.columns), "VALUE": self.value, "PARAMETER": self.result}
        facts["RESULT"] = self.result.split("*")[1]
        before, call = "", "$P_once(m, symbol, $RESULT);"
        if not model.tokens:
            before, call = self._numbers("shift", model.shift) + self._numbers("scale", model.scale), READ
        if model.classes:
            before, call = before + self._numbers("prior", model.prior), call + ODDS
            facts |= {"K": len(model.classes), "TEMPERATURE": c_number(model.temperature)}
        return before + filled(STEP_OF_ONE.replace("$CALL", call), facts)

    def _forecast(self) -> str:
        model, name = self.model, self.name
        facts: dict[str, Any] = {
            "P": name, "C": len(model.columns), "K": model.horizon, "N": model.context + 1,
            "ONCE": model.at_once,
        }  # fmt: skip
        tables = self._numbers("shift", model.shift) + self._numbers("scale", model.scale)
        if model.standing is not None:
            tables += self._standing(model.standing)
            reach = model.standing.weights.shape[3]
            facts |= {"R": reach, "SEGMENT": model.standing.segment, "STEPS": model.steps, "M": len(model.networks)}
            facts["LARGEST"] = repr(model.standing.largest)
            facts["FLOOR"], facts["FURTHEST"] = repr(model.standing.spread_floor), repr(model.standing.furthest)
            calls = [f"        {name}{step.mark}_once(m, x, made[{i}]);\n" for i, step in enumerate(self.steps)]
            facts["CALLS"] = "".join(calls)
            kind = "on_line" if self.steps else "line"
        else:
            kind = "carried" if not model.context else "window"
        facts["RESET"] = "\n        ".join(self._resets())
        chosen = {"differences" if model.differences else "levels"}
        if model.standing is not None and model.standing.share[1].any():
            chosen.add("logs")
        text = FORECAST[kind]
        choice = re.compile(r"@if (\w+)\n(.*?)@end\n", re.DOTALL)
        text = choice.sub(lambda match: match[2] if match[1] in chosen else "", text)
        return tables + filled(text, facts)

    def _standing(self, s: Standing) -> str:
        numbers = {"line_share": s.share} | ({"line_floor": s.floor} if s.share[1].any() else {})
        for which, kind in enumerate(("values", "logs")):
            if s.share[which].any() or not which:
                numbers |= {f"line_{kind}": s.weights[which], f"line_{kind}_bias": s.biases[which]}
        if self.steps:
            numbers |= {"gain": s.gain, "units": s.units, "spread": s.spread}
        return "".join(self._numbers(key, value) for key, value in numbers.items())

    def _numbers(self, key: str, values: NDArray[Any]) -> str:
        self.line_bytes += 8 * values.size
        texts = wrapped([repr(float(v)) for v in values.ravel()])
        return f"static const double {self.name}_{key}[{values.size}] = {{\n{texts}\n}};\n"

    # Beside the code

    def recorded(self) -> tuple[list[Any], NDArray[Any]]:
        """What comes in, and what the network says to each in float64 (NaN where nothing)."""
        stream, model = Stream(self.model, dtype=torch.float64), self.model
        example = list(model.example)[-(RECORDED + model.context) :]
        answers = [stream.push(value) for value in example]
        shape = next(f.shape for f in answers if f is not None)
        return example, np.array([np.full(shape, np.nan) if f is None else f for f in answers]).reshape(
            len(answers), -1
        )

    def test(self, apart: int) -> str:
        """The test's .c; ``apart`` are the bytes of weights in a file."""
        inputs, outputs = self.recorded()
        if self.model.tokens:
            texts, kind, call = [str(s) for s in inputs], "int", "inputs[t]"
        else:
            texts = [repr(float(v)) for row in inputs for v in row]
            kind, call = "double", f"inputs + t * {len(self.model.columns)}"
        real = "double" if self.is_forecast else "float"
        wanted = wrapped(["NAN" if np.isnan(v) else repr(float(v)) for v in outputs.ravel()])
        facts = {
            "P": self.name,
            "LOADED": filled(LOADED, {"P": self.name, "BYTES": apart}) if apart else "",
            "INPUTS": wrapped(texts), "KIND": kind, "CALL": call, "REAL": real,
            "WANTED": wanted, "T": len(inputs), "SIZE": outputs.shape[1], "TOLERANCE": repr(TOLERANCE),
            "STEP": filled(TRIED if self.is_forecast else "$P_step(&m, $CALL, made);", {"P": self.name, "CALL": call}),
        }  # fmt: skip
        return filled(TEST, facts)

    def readme(self, sizes: dict[str, int], apart: bool, int8: bool) -> str:
        """The README."""
        facts = {
            "P": self.name, "VERSION": __version__, "PROMISE": self._promise(), "WEIGHTS": f"{sizes['weights']:,}",
            "STATE": f"{sizes['state']:,}", "STACK": f"{sizes['stack']:,}",
            "KIND": "whole numbers of eight bits, a factor a row" if int8 else "float",
            "APART": f"\n`{self.name}.weights` holds the weights: map it or read it, aligned to 64 bytes, and call\n"
            f"`{self.name}_use_weights` first.\n" if apart else "",
        }  # fmt: skip
        return filled(README, facts)


def _quoted(text: str) -> str:
    """A C string of the UTF-8 of ``text``."""
    made = []
    for byte in text.encode("utf-8", "surrogateescape"):
        plain = 32 <= byte < 127 and chr(byte) not in '"\\?'
        made.append(chr(byte) if plain else f"\\{byte:03o}")
    return '"' + "".join(made) + '"'


def _without_unused(code: str) -> str:
    """The code without the tables of numbers that nothing reads."""
    for match in re.finditer(r"static const double (\w+)\[\d+\] = \{.*?\n\};\n", code, re.DOTALL):
        if len(re.findall(rf"\b{match[1]}\b", code)) == 1:
            code = code.replace(match[0], "")
    return code
