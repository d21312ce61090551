"""Four faults, planted one at a time in one cell: some test must fail for each. `make test-mutants` shows it.

Run as a script, it runs the tests once for each mutant and cell and prints which test caught it. Loaded by pytest
(``-p mutants``), it plants the fault that the environment variable ELMAN_MUTANT names, as ``fault:cell``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

TESTS = Path(__file__).parent
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


def caught_by(fault: str, cell: str) -> str | None:
    """The first test that fails with the fault planted; None where all pass."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "mutants", "-p", "no:cacheprovider", *SUITE],
        cwd=TESTS,
        env=os.environ | {"ELMAN_MUTANT": f"{fault}:{cell}", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        check=False,
    )
    failed = re.search(r"^FAILED (\S+)", done.stdout, flags=re.MULTILINE)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    return failed[1] if failed else None


def main() -> int:
    if already := caught_by("none", "none"):
        raise SystemExit(f"{already} fails without a mutant: mend that first")
    alive = 0
    for fault in FAULTS:
        for cell in CELLS:
            found = caught_by(fault, cell)
            alive += found is None
            print(f"{fault:28} {cell:8} {'caught by ' + found if found else 'ALIVE: no test fails'}", flush=True)
    print(f"{len(FAULTS) * len(CELLS) - alive} of {len(FAULTS) * len(CELLS)} mutants caught")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
