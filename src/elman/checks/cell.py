"""`elman check`: what must hold for a cell, whoever wrote it, each with the first counter-example."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from elman.backends import BACKENDS, Call
from elman.checks.trial import Case, Shape, Subject, Tensors, errors, first_difference, outcome, waves
from elman.equations import Program
from elman.errors import ElmanError
from elman.export.agree import LeftOut, run_c, run_onnx
from elman.layers import Recurrent

Counterexample = dict[str, Any]
SHAPES = (Shape(3, 7, 2, 5), Shape(1, 4, 1, 1), Shape(5, 6, 3, 17))
SMALL = Shape(2, 3, 2, 3)  # for differences of every entry
EXACT = 1e-10  # float64, the same sums in another order
STEP = 1e-5  # of a central difference, which errs about its square


def check(subject: Subject, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """Put ``subject`` through every check.

    For each: its name, verdict (ok, failed, skipped), what it shows, and the first counter-example: shape, seed,
    tensor, entry, the value found and the one wanted.

    Raises :class:`EquationError` where the cell does not trace, :class:`CellError` for an option it has not.

    >>> from elman.cells import get
    >>> [each["name"] for each in check(Subject(get("mgu")))["checks"] if each["verdict"] == "ok"]
    ['finite', 'backend', 'gradient', 'rows', 'lengths', 'resets', 'halves', 'saved', 'steps', 'exports']
    """
    program = subject.layer(SHAPES[0].fitting(subject.program())).program
    results: list[dict[str, Any]] = []
    for name, run in CHECKS.items():
        say(name)
        broken = results and results[0]["verdict"] == "failed"
        results.append({"name": name, **(NOT_FINITE if broken else _verdict(subject, program, run))})
    return {
        "cell": subject.cell.name,
        "options": dict(program.options),
        "states": [s.name for s in program.states],
        "recurrence": program.kind,
        "seed": subject.seed,
        "checks": results,
        "ok": not any(each["verdict"] == "failed" for each in results),
    }


def _verdict(subject: Subject, program: Program, run: Callable[..., Any]) -> dict[str, Any]:
    try:
        result = run(subject, program)
    except Skipped as why:
        return {"verdict": "skipped", "shows": str(why)}
    except ElmanError:
        raise
    except Exception as error:  # a backend that breaks is what is looked for here
        return {"verdict": "failed", "shows": f"{type(error).__name__}: {error}"}
    if isinstance(result, str):
        return {"verdict": "ok", "shows": result}
    return {"verdict": "failed", "counter_example": result | {"seed": subject.seed}}


NOT_FINITE = {"verdict": "skipped", "shows": "what is not finite cannot be compared"}


class Skipped(Exception):
    """A check that does not apply, and why."""


def _each_shape(
    subject: Subject, program: Program, compare: Callable[[Recurrent, Case], Counterexample | None]
) -> Counterexample | None:
    for case_shape in SHAPES:
        shape = case_shape.fitting(program)
        if difference := compare(subject.layer(shape), subject.case(shape)):
            return difference | {"shape": shape.words}
    return None


def _lengths(shape: Shape) -> list[int]:
    return [shape.T - row * 2 if row * 2 < shape.T else 0 for row in range(shape.B)]


def _resets(shape: Shape) -> Tensor:
    """Each row anew at a step of its own, never at the first."""
    reset = torch.zeros(shape.T, shape.B, dtype=torch.bool)
    for row in range(shape.B):
        reset[1 + row % (shape.T - 1), row] = True
    return reset


def finite(subject: Subject, program: Program) -> str | Counterexample:
    """No infinity and no NaN, from zero states and from such as the cell comes to."""

    def compare(layer: Recurrent, case: Case) -> Counterexample | None:
        for states in ([torch.zeros_like(s) for s in case.states], case.states):
            for name, value in outcome(layer, replace(case, states=states)).items():
                if not torch.isfinite(value).all():
                    entry = [int(i) for i in (~torch.isfinite(value)).nonzero()[0]]
                    return {"tensor": name, "entry": entry, "found": float(value[tuple(entry)]), "wanted": "a number"}
        return None

    return _each_shape(subject, program, compare) or "outputs, states and gradients are finite"


def backend(subject: Subject, program: Program) -> str | Counterexample:
    """The backend that is chosen in float32, against the reference in float64: lengths, resets, every gradient."""
    taken = set()
    for case_shape in SHAPES:
        shape = case_shape.fitting(program)
        layer, case = subject.layer(shape, torch.float32), subject.case(shape, torch.float32)
        case = replace(case.poisoned(_lengths(shape)), reset=_resets(shape))
        truth = outcome(subject.layer(shape, backend="reference"), case.to(torch.float64))
        own = errors(outcome(subject.layer(shape, torch.float32, "reference"), case), truth)
        # What rounding does to these equations is what it does to the reference, four times over for another order.
        allowed = {name: 4 * error + 2e-6 if isfinite(error) else 2e-6 for name, error in own.items()}
        if difference := first_difference(outcome(layer, case), truth, allowed):
            return difference | {"shape": shape.words}
        taken.add(_taken(layer, case))
    return "; ".join(sorted(taken))


def _taken(layer: Recurrent, case: Case) -> str:
    states = tuple(s[0] for s in case.states)
    weights = {p.name: getattr(layer, f"{p.name}_l0") for p in layer.program.parameters}
    call = Call(layer.program, layer.stack.sizes[0], weights, case.x.requires_grad_(), states, case.extras)
    reasons = {name: each.refuses(call) for name, each in BACKENDS.items()}
    name = next(name for name, reason in reasons.items() if reason is None)
    refused = [f"'{other}' {reason}" for other, reason in reasons.items() if reason]
    return f"runs on '{name}'" + (f", since {refused[0]}" if refused else "")


def gradient(subject: Subject, program: Program) -> str | Counterexample:
    """Every gradient, entry by entry, against central differences in float64."""
    if any(node.op == "stop_gradient" for node in program.nodes):
        raise Skipped("stop_gradient makes the gradient another one than the derivative, on purpose")
    shape = SMALL.fitting(program)
    layer, case = subject.layer(shape), subject.case(shape)
    computed = outcome(layer, case)
    count = 0
    for name, tensor in _leaves(layer, case).items():
        numeric = torch.stack([_difference(layer, case, tensor, entry) for entry in range(tensor.numel())])
        pair = {f"gradient of {name}": numeric.view(tensor.shape)}
        if difference := first_difference(computed, pair, 1e-6):
            return difference | {"shape": shape.words}
        count += tensor.numel()
    return f"{count} entries against differences"


def _leaves(layer: Recurrent, case: Case) -> Tensors:
    states = {f"initial {s.name}": v for s, v in zip(layer.program.states, case.states, strict=True)}
    return {"x": case.x} | states | case.extras | {n: p.data for n, p in layer.named_parameters()}


def _difference(layer: Recurrent, case: Case, tensor: Tensor, entry: int) -> Tensor:
    flat, sums = tensor.view(-1), []
    before = flat[entry].item()
    for sign in (1, -1):
        flat[entry] = before + sign * STEP
        with torch.no_grad():
            state = case.states[0] if len(case.states) == 1 else tuple(case.states)
            output, final = layer(case.x, state, **case.extras)
        values = [output, *([final] if len(case.states) == 1 else final)]
        arriving = waves({str(i): v for i, v in enumerate(values)}).values()
        sums.append(sum((v * c).sum() for v, c in zip(values, arriving, strict=True)))
    flat[entry] = before
    return (sums[0] - sums[1]) / (2 * STEP)


def rows(subject: Subject, program: Program) -> str | Counterexample:
    """A batch against each of its rows alone."""
    return _each_shape(subject, program, _against_rows) or "a row in a batch is the row alone"


def lengths(subject: Subject, program: Program) -> str | Counterexample:
    """Rows of several lengths, one of them 0, with NaN in the padding, against each row alone."""

    def compare(layer: Recurrent, case: Case) -> Counterexample | None:
        return _against_rows(layer, case.poisoned(_lengths(case.shape)))

    return _each_shape(subject, program, compare) or "what the padding holds reaches nothing"


def _against_rows(layer: Recurrent, case: Case) -> Counterexample | None:
    together = outcome(layer, case)
    arriving = waves({n: v for n, v in together.items() if not n.startswith("gradient")})
    # What the rows alone do not write is 0: outputs and gradients in the padding.
    built = {name: torch.zeros_like(value) for name, value in together.items()}
    weights = [f"gradient of {n}" for n, _ in layer.named_parameters()]
    for row in range(case.shape.B):
        length, at = case.shape.T if case.lengths is None else case.lengths[row], slice(row, row + 1)
        own = {n: c[:length, at] if n == "output" else c[:, at] for n, c in arriving.items()}
        for name, value in outcome(layer, case.steps(0, length, at), own).items():
            if name in weights:
                built[name] += value
            elif name == "output" or name in ("gradient of x", *(f"gradient of {e}" for e in case.extras)):
                built[name][:length, at] = value
            else:
                built[name][:, at] = value
    return first_difference(together, built, EXACT)


def resets(subject: Subject, program: Program) -> str | Counterexample:
    """A reset in mid-sequence against a new sequence from there."""

    def compare(layer: Recurrent, case: Case) -> Counterexample | None:
        mask = _resets(case.shape)
        computed = outcome(layer, replace(case, reset=mask))
        built = {name: torch.zeros_like(v) for name, v in computed.items() if not name.startswith("gradient")}
        for row in range(case.shape.B):
            step, at = int(mask[:, row].nonzero()[0]), slice(row, row + 1)
            first, last = case.steps(0, step, at), case.steps(step, case.shape.T, at)
            built["output"][:step, at] = outcome(layer, first)["output"]
            anew = outcome(layer, replace(last, states=[torch.zeros_like(s) for s in last.states]))
            for name in built:
                built[name][slice(step, None) if name == "output" else slice(None), at] = anew[name]
        return first_difference(computed, built, EXACT)

    return _each_shape(subject, program, compare) or "a row starts anew where it is told to"


def halves(subject: Subject, program: Program) -> str | Counterexample:
    """Two halves, the state carried over, against one pass."""

    def compare(layer: Recurrent, case: Case) -> Counterexample | None:
        whole, half = outcome(layer, case), case.shape.T // 2
        names = [f"final {s.name}" for s in program.states]
        first = outcome(layer, case.steps(0, half))
        last = case.steps(half, case.shape.T)
        second = outcome(layer, replace(last, states=[first[n] for n in names]))
        built = {n: second[n] for n in names} | {"output": torch.cat([first["output"], second["output"]])}
        return first_difference(whole, built, EXACT)

    return _each_shape(subject, program, compare) or "the state carries all there is to carry"


def saved(subject: Subject, program: Program) -> str | Counterexample:
    """The program as text and the weights as safetensors, read back without the cell: the same bits."""

    def compare(layer: Recurrent, case: Case) -> Counterexample | None:
        again = Program.from_json(program.to_json())
        sizes: dict[str, Any] = {name: layer.stack.sizes[0][name] for name in program.size_names}
        copy = Recurrent(again, case.shape.I, case.shape.H, dtype=torch.float64, **sizes)
        copy.load_state_dict(load(save(dict(layer.state_dict()))))
        return first_difference(outcome(copy, case), outcome(layer, case), 0.0)

    return _each_shape(subject, program, compare) or "read back without the cell, it gives the same bits"


def steps(subject: Subject, program: Program) -> str | Counterexample:
    """One step after the other, its state inside, as a stream is run and every export written."""

    def compare(layer: Recurrent, case: Case) -> Counterexample | None:
        step = layer.stepper(case.shape.B)
        step.state = case.states[0] if len(case.states) == 1 else tuple(case.states)
        each = [step(case.x[t], **{n: e[t] for n, e in case.extras.items()}).copy() for t in range(len(case.x))]
        state = step.state if isinstance(step.state, tuple) else (step.state,)
        stepped = {"output": torch.from_numpy(np.stack(each))}
        stepped |= {f"state {s.name}": end for s, end in zip(program.states, state, strict=True)}
        with torch.no_grad():
            wanted, ends = layer(case.x, case.states[0] if len(case.states) == 1 else tuple(case.states), **case.extras)
        ends = ends if isinstance(ends, tuple) else (ends,)
        want = {"output": wanted} | {f"state {s.name}": end for s, end in zip(program.states, ends, strict=True)}
        return first_difference(stepped, want, EXACT)

    return _each_shape(subject, program, compare) or "step by step, outputs and states are those of the sequence"


def exports(subject: Subject, program: Program) -> str | Counterexample:
    """The step in C and the sequence in ONNX, where there is something to run them with."""
    layer, case = subject.layer(SHAPES[0].fitting(program)), subject.case(SHAPES[0].fitting(program))
    names = []
    for name, run in {"C": run_c, "ONNX": run_onnx}.items():
        # ONNX is written in float32.
        own, given, bound = (layer, case, EXACT) if name == "C" else (layer.float(), case.to(torch.float32), 1e-4)
        try:
            output = run(own, given.x[:, :1], {n: e[:, :1] for n, e in given.extras.items()})
        except LeftOut:
            continue
        with torch.no_grad():
            want, _ = own(given.x[:, :1], **{n: e[:, :1] for n, e in given.extras.items()})
        if difference := first_difference({f"output in {name}": output}, {f"output in {name}": want}, bound):
            return difference | {"shape": str(case.shape)}
        names.append(name)
    if not names:
        raise Skipped("there is neither a C compiler on the PATH nor onnxruntime")
    return f"written as {' and as '.join(names)} it says the same"


CHECKS: Mapping[str, Callable[[Subject, Program], str | Counterexample]] = {
    "finite": finite,
    "backend": backend,
    "gradient": gradient,
    "rows": rows,
    "lengths": lengths,
    "resets": resets,
    "halves": halves,
    "saved": saved,
    "steps": steps,
    "exports": exports,
}
