"""Errors to plant in what explains a network: a term, a mask or a transposition lost, a step too many: mutants.py."""

from __future__ import annotations

PATHS, FLOW, MEMORY = "test_insight_paths.py", "test_insight_flow.py", "test_insight_memory.py"
JACOBIANS, ACTIVITY, OWN = "test_insight_jacobians.py", "test_insight_activity.py", "test_report_own.py"

# Each as mutants.Error has it: name, file, after, old, new, tests.
INSIGHT = [
    ("steps: rows that are over are not masked", "insight/steps.py", "def _whole",
     "value if valid is None else torch.where(valid[self.step].unsqueeze(-1), value, 0.0)", "value", FLOW),
    ("steps: a reset does not cut", "insight/steps.py", "def leaving",
     "torch.where(self.begins(passed.step).unsqueeze(-1), 0.0, value)", "value", FLOW),
    ("steps: a reset past a row's end", "insight/steps.py", "def begins",
     "call.reset[t] if call.valid is None else call.reset[t] & call.valid[t]", "call.reset[t]", PATHS),
    ("steps: a weight's gradient transposed", "insight/steps.py", "def _contributed",
     "Nbkr,bkc->Nkrc", "Nbkr,bkc->Nkcr", PATHS),
    ("steps: a bias of one row alone", "insight/steps.py", "def _contributed", "g.sum(1)", "g[:, 0]", PATHS),
    ("steps: a query joins one step late", "insight/steps.py", "def back",
     "bisect_left(last, step)", "bisect_left(last, step + 1)", FLOW),
    ("unrolled: what goes round a layer is lost", "insight/unrolled.py", "def _split",
     "around = cotangent.clone()", "around = None", FLOW),
    ("unrolled: losses of later steps let through", "insight/unrolled.py", "def _expect_own_step",
     "own[:t].any() or own[t + 1 :].any()", "own[:t].any()", FLOW),
    ("flow: distances the wrong way", "insight/flow.py", "def by_distance",
     "-1 if direction else 1", "1", FLOW),
    ("jacobians: their product in the other order", "insight/jacobians.py", "def product_log_norms",
     "product @ matrix", "matrix @ product", JACOBIANS),
    ("jacobians: steps that settle counted", "insight/jacobians.py", "def lyapunov",
     "total / (count - settle)", "total / count", JACOBIANS),
    ("jacobians: directions not turned", "insight/jacobians.py", "def lyapunov",
     "matrix @ turned)", "matrix)", JACOBIANS),
    ("memory: distances from the first step", "insight/memory.py", "def memory_by_gradient",
     ".flip(1), threshold", ", threshold", MEMORY),
    ("memory: the mean of roots", "insight/memory.py", "def memory_by_gradient",
     "gradient.square().sum(3).mean(2).sqrt()", "gradient.square().sum(3).sqrt().mean(2)", MEMORY),
    ("memory: pushed rows exchanged", "insight/memory.py", "def _rerun",
     "s.repeat_interleave(times, 0)", "s.repeat(times, 1)", MEMORY),
    ("paths: a distance counted with the next", "insight/paths.py", "def gradient_shares",
     "abs(t - back.step)", "abs(t - back.step) + 1", PATHS),
    ("paths: shares of the norm, not of its square", "insight/paths.py", "def projected",
     "part[-1].dot(part[-1])", "part[-1].norm()", PATHS),
    ("attribution: the gradient without the input", "insight/attribution.py", "def attribution",
     "x.detach() * mean)", "mean)", MEMORY),
    ("attribution: shares of all rows together", "insight/attribution.py", "def mass",
     "size / size.sum(0)", "size / size.sum()", MEMORY),
    ("activity: padding counted", "insight/activity.py", "def _share",
     "at_end[self.running]", "at_end.flatten(0, 1)", ACTIVITY),
    ("facts: attribution of the last step alone", "report/facts.py", "def _attribution",
     "(output * chosen.explained).sum((0, 2))", "output[-1].sum(1)", OWN),
    ("sample: the first step is asked about", "insight/sample.py", "def of(", "lambda y: y[-1]", "lambda y: y[0]", OWN),
]  # fmt: skip
