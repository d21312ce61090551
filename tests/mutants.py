"""Faults planted one at a time: some test must fail for each. `make test-mutants` shows it.

Errors in as many places of the source: equations, the order of gates, derivatives, sums, kernels for a GPU. More in
what explains a network (insight_mutants.py). And four faults of a backend, in three cells each. Run as a script, it
runs tests once for each mutant and prints which test caught it; words after it choose mutants by name. Loaded by pytest
(``-p mutants``), it plants the fault of a backend that the variable ELMAN_MUTANT names, as ``fault:cell``.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from insight_mutants import INSIGHT

TESTS = Path(__file__).parent
SOURCE = TESTS.parent / "src"
UNCHANGED = {"PYTHONPATH": os.pathsep.join([str(SOURCE), str(TESTS)])}


@dataclass(frozen=True)
class Error:
    """``old`` written as ``new`` in a file, its first place after ``after``; ``tests`` must find it."""

    name: str
    file: str
    after: str
    old: str
    new: str
    tests: str

    def planted(self, source: str) -> str:
        """The file's text with the error in it."""
        start = source.index(self.after)
        at = source.index(self.old, start)
        return source[:at] + self.new + source[at + len(self.old) :]


ERRORS = [
    Error(
        "lstm: gates in another order", "cells/lstm.py", "def lstm(",
        "i, f, g, o = sigmoid(p.i(x, h)), sigmoid(p.f(x, h)),", "f, i, g, o = sigmoid(p.f(x, h)), sigmoid(p.i(x, h)),",
        "test_torch_modules.py",
    ),
    Error("gru: z the other way round", "cells/gru.py", "def gru(", "(1 - z) * n + z * h", "z * n + (1 - z) * h",
          "test_catalogue.py"),
    Error("mgu: the candidate sees all of h", "cells/gru.py", "def mgu(", "f * h)", "h)", "test_catalogue.py"),
    Error("lem: y sees the old z", "cells/dynamics.py", "def lem(",
          "    z = (1 - a) * z + a * tanh(p.z(x, y))\n    y = (1 - b) * y + b * tanh(p.y(x, z))\n",
          "    old, z = z, (1 - a) * z + a * tanh(p.z(x, y))\n    y = (1 - b) * y + b * tanh(p.y(x, old))\n",
          "test_catalogue.py"),
    Error("slstm: the stabiliser forgets m", "cells/xlstm.py", "def slstm(", "maximum(b + m, a)", "maximum(b, a)",
          "test_catalogue.py"),
    Error("unicornn: y by the old velocity", "cells/dynamics.py", "def unicornn(",
          "return y + pace * z, z", "return y + pace * (z / (1 + pace)), z", "test_catalogue.py"),
    Error("tanh: derivative 1 - y", "equations/ops.py", "tanh: Operation", "(1 - y * y)", "(1 - y)", "test_ops.py"),
    Error("maximum: all of the gradient at a tie", "equations/ops.py", "maximum: Operation", "gt(a, b)", "ge(a, b)",
          "test_ops.py"),
    Error("adjoint: a total's gradient to its first argument alone", "equations/adjoint.py", 'node.op == "total"',
          "for a in node.args:", "for a in node.args[:1]:", "test_adjoint.py"),
    Error("totals: of a difference, the sum", "equations/totals.py", "def add(",
          '-times if node.op == "sub" else times', "times", "test_adjoint.py"),
    Error("a share of the rows is left out", "backends/cpu/kernels/products.py", "def _add_up(",
          "c.loop(1,", "c.loop(2,", "test_cpu_backend.py"),
    Error("early: a step begins with the sums of the block's first", "backends/cpu/kernels/early.py", "def read(",
          "c.b.sub(time.turn, self.first)", "c.b.sub(time.turn, time.turn)", "test_cpu_early.py"),
    Error("without a gradient: what a later pass reads is not written", "backends/cpu/kernels/forward.py",
          "def is_only_kept(", "store.nodes[0] not in self.read", "True", "test_cpu_inference.py"),
    Error("shared: the last panel is nobody's", "backends/cpu/llvm/kernel.py", "def dealt(",
          "self.mul(at, count)", "self.mul(at, count - 1)", "test_cpu_sharing.py"),
    Error("shared: nobody waits for the others", "backends/cpu/kernels/forward.py", "def _turns(",
          "self.c.wait()", "pass", "test_cpu_sharing.py"),
    Error("shared: the first waits for itself alone", "backends/cpu/llvm/waiting.py", "def _waiting(",
          "w.loop(0, members)", "w.loop(0, 1)", "test_cpu_sharing.py"),
    Error("kept: the key forgets what a kernel is built for", "backends/cpu/kernels/building.py", "def forward(",
          "*plan.identity, variant)", "*plan.identity)", "test_padding.py"),
    Error("kept: an address without what is added", "backends/cpu/llvm/loader.py", "def _fill_in(",
          "symbols[symbol] + addend", "symbols[symbol]", "test_objects.py"),
    Error("adamw: the first step for ever", "internals.py", "class Moments",
          "torch._foreach_add_(self.steps, 1)", "pass", "test_optimizer.py"),
    Error("early: what came is forgotten", "backends/cpu/kernels/tiles.py", "def begin(",
          "if early else None", "if False else None", "test_cpu_early.py"),
    Error("tiles: the last rows are left out", "backends/cpu/kernels/tiles.py", "def _tiles(",
          "c.add(left, cut.rest - 1)", "left", "test_cpu_early.py"),
    Error("triton: a row that is over has columns", "backends/triton/source.py", "def backward(",
          "if variant.valid else []", "if False else []", "test_triton.py"),
    Error("triton: a reset's gradient whether or not it is one", "backends/triton/source.py", "def _carried(",
          "tl.where(anew, n{k}, 0.0)", "n{k}", "test_triton.py"),
    Error("triton: sums of a step overwritten in the next", "backends/triton/writer.py", "def _partial(",
          "(t % 2)", "(t % 1)", "test_triton.py"),
    Error("triton: the first span of a row alone", "backends/triton/writer.py", "def _product_of_all(",
          '" + ".join(terms)', "terms[0]", "test_triton.py"),
    Error("triton: a scan's gradient by the wrong factors", "backends/triton/scan.py", "def backward(",
          "-1 if ctx.reverse else 1", "1 if ctx.reverse else -1", "test_triton.py"),
    Error("triton: near 0 the other sign", "backends/triton/functions.py", "def tanh(",
          "-17 / 315", "17 / 315", "test_triton.py"),
    Error("an antisymmetric weight that is not", "equations/program.py", "def _skew", "each - each.mT", "each",
          "test_catalogue.py"),
    Error("training: parts of a batch count alike", "training/loop.py", "def train_step",
          "loss if share == 1 else share * loss", "1.0 * loss", "test_ranks.py"),
    Error("checkpoint within an epoch: the order is drawn anew", "training/standing.py", "def save_within",
          '{"random.shuffle": drawn}', '{"random.shuffle": self.generator.get_state()}', "test_training.py"),
    Error("checkpoint within an epoch: no state is carried on", "training/loop.py", "def train_epoch",
          "self.within.states[first : first + self.recipe.accumulate]", "self._no_states()", "test_training.py"),
    Error("folders: a series begins anew with each piece", "data/series/folders.py", "def _sort",
          "free[numbers] += np.diff(begins, append=len(codes))", "pass", "test_folders.py"),
    Error("columns: before a series begins, another's values", "data/mapped.py", "def stretches",
          "inside = np.maximum(start, 0)", "inside = start", "test_panel.py"),
    Error("gaussian: a wide spread costs nothing", "tasks/likelihoods.py", "class Gaussian",
          "return log + ((", "return ((", "test_likelihoods.py"),
    Error("student-t: the density of another area", "tasks/likelihoods.py", "class StudentT", "log - constant + half",
          "log + half", "test_likelihoods.py"),
    Error("counts: the variance without the mean", "tasks/likelihoods.py", "class NegativeBinomial",
          "(mean + mean.square()", "(mean.square()", "test_likelihoods.py"),
    Error("quantiles: below costs as above", "tasks/likelihoods.py", "class Quantiles",
          "torch.maximum(q * left, (q - 1) * left)", "(q - 0.5).abs() * left.abs()", "test_likelihoods.py"),
    Error("intervals: the truth below is no miss", "metrics/intervals.py", "class Calibration",
          "np.maximum(lower - scaled, scaled - upper)", "(scaled - upper)", "test_intervals.py"),
    Error("paths: each step by itself", "jobs/paths.py", "def drawn(",
          "quantiles[:, min(k, seen - 1), c]", "random.random(count)", "test_likelihood.py"),
    Error("static: of the first series", "tasks/panel.py", "def measured(", "self.static[chosen]",
          "self.static[0 * chosen]", "test_static.py"),
    Error("a line: the best context alone", "linear/blend.py", "def members(", "[:contexts]", "[:1]", "test_linear.py"),
]  # fmt: skip
CELLS = ("lstm", "gru", "gru_cho")  # one stage, one stage with an inner product kept apart, two stages
SUITE = ["test_extras.py", "test_layers.py", "test_reference.py", "test_torch_modules.py"]


def packed_run_as_padded(run):
    """Lengths are forgotten."""
    return lambda self, call: run(self, replace(call, valid=None))


def input_gradient_scaled(run):
    """The gradient of x is 0.1 % too small."""
    import torch

    class Scaled(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, g):
            return 0.999 * g

        @staticmethod
        def jvp(ctx, g):
            return g.clone()

    return lambda self, call: run(self, replace(call, x=Scaled.apply(call.x)))


def state_kept(run):
    """A call begins where the one before ended, if its states have the same shape."""
    kept: dict = {}

    def mutant(self, call):
        shapes = tuple((s.shape, s.dtype) for s in call.states)
        states = kept.get(shapes, call.states)
        result = run(self, replace(call, states=states))
        kept[shapes] = tuple(s.detach() for s in result.states)
        return result

    return mutant


def second_derivative_missing(run):
    """The first derivative is right, and has none of its own."""
    import torch

    def mutant(self, call):
        names, count = list(call.parameters), len(call.states)

        def results(x, *rest):
            parameters = dict(zip(names, rest[count:], strict=True))
            result = run(self, replace(call, x=x, states=rest[:count], parameters=parameters, record=()))
            return (result.output, *result.states)

        class Once(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *tensors):
                ctx.save_for_backward(*tensors)
                return tuple(r.clone() for r in results(*tensors))

            @staticmethod
            def backward(ctx, *gradients):
                with torch.enable_grad():
                    leaves = [t.detach().requires_grad_() for t in ctx.saved_tensors]
                    again = results(*leaves)
                given = [g.detach() for g in gradients]
                return torch.autograd.grad(again, leaves, given, allow_unused=True)

        # The first derivative must stay right, so what the lines above do not pass on is left alone.
        beside = call.record or call.extras or (call.initial is not None and call.reset is not None)
        if beside or torch._C._functorch.peek_interpreter_stack() is not None:
            return run(self, call)
        output, *states = Once.apply(call.x, *call.states, *call.parameters.values())
        return Result(output, tuple(states))

    from elman.backends import Result

    return mutant


FAULTS = {f.__name__: f for f in (packed_run_as_padded, input_gradient_scaled, state_kept, second_derivative_missing)}


def pytest_configure(config):
    """Plant the fault, where one is asked for."""
    planted = os.environ.get("ELMAN_MUTANT")
    if not planted:
        return
    from elman.backends.reference import Reference

    fault, cell = planted.split(":")
    if fault == "none":
        return
    right, wrong = Reference.run, FAULTS[fault](Reference.run)
    Reference.run = lambda self, call: (wrong if call.program.name == cell else right)(self, call)


def found(name: str) -> str:
    """Where the test file of that name is."""
    return str(next(TESTS.rglob(name)))


def caught_by(tests: list[str], environment: Mapping[str, str]) -> str | None:
    """The first of ``tests`` that fails in this environment, or that a wrong kernel crashes; None where all pass."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "mutants",
            "-p",
            "no:cacheprovider",
            "-m",
            "not slow and not full",
            *map(found, tests),
        ],
        cwd=TESTS,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode < 0:
        return f"a crash: {signal.Signals(-done.returncode).name}"
    failed = re.search(r"^FAILED (\S+)", done.stdout, flags=re.MULTILINE)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    return failed[1] if failed else None


def in_the_source(error: Error) -> str | None:
    """The test that finds ``error`` in a copy of the source."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(SOURCE, Path(folder) / "src", ignore=shutil.ignore_patterns("__pycache__")))
        file = copy / "elman" / error.file
        file.write_text(error.planted(file.read_text()))
        return caught_by([error.tests], {"PYTHONPATH": os.pathsep.join([str(copy), str(TESTS)])})


def in_a_backend(fault: str, cell: str) -> str | None:
    """The test that finds ``fault`` in the reference backend's run of ``cell``."""
    return caught_by(SUITE, UNCHANGED | {"ELMAN_MUTANT": f"{fault}:{cell}"})


def main() -> int:
    errors = [*ERRORS, *(Error(*fields) for fields in INSIGHT)]
    mutants = {error.name: lambda error=error: in_the_source(error) for error in errors}
    mutants |= {f"{fault} in {cell}": lambda f=fault, c=cell: in_a_backend(f, c) for fault in FAULTS for cell in CELLS}
    words = sys.argv[1:]
    chosen = {name: run for name, run in mutants.items() if not words or any(word in name for word in words)}
    if already := caught_by(sorted({*SUITE, *(error.tests for error in errors)}), UNCHANGED):
        raise SystemExit(f"{already} fails without a mutant: mend that first")
    alive = 0
    for name, run in chosen.items():
        found = run()
        alive += found is None
        print(f"{name:60} {'caught by ' + found if found else 'ALIVE: no test fails'}", flush=True)
    print(f"{len(chosen) - alive} of {len(chosen)} mutants caught")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
