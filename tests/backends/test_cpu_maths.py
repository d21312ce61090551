"""The vector functions of the CPU backend, in units in the last place against float64, and at their edges."""

from __future__ import annotations

import ctypes
import math
from functools import cache

import mpmath
import numpy as np
import pytest
from llvmlite import ir

from elman.backends.cpu.functions.lowering import LOWERINGS
from elman.backends.cpu.llvm import compiler, machine
from elman.backends.cpu.llvm.code import I64, PTR, Code

pytestmark = pytest.mark.usefixtures("optimised")

ULPS = {
    "exp": 2, "log": 2, "tanh": 2, "sigmoid": 2, "expm1": 2, "log1p": 2, "softplus": 2, "sqrt": 1, "rsqrt": 2,
    "sin": 2, "cos": 2, "atan": 3, "erf": 2,
}  # fmt: skip
TRUTH = {
    "sigmoid": lambda x: np.where(x < 0, np.exp(x) / (1 + np.exp(x)), 1 / (1 + np.exp(-x))),
    "softplus": lambda x: np.logaddexp(x, 0),
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "atan": np.arctan,
    "erf": np.vectorize(math.erf),
}
ULPS_UNFUSED = {("erf", 4, 8): 3}  # by vector width and bytes: where multiply and add round twice
CODE = []  # what holds the functions
ITEMS = {4: np.float32, 8: np.float64}


@cache
def functions(vectors):
    """Each function over an array, for these vectors."""
    module = ir.Module()
    for name in ULPS:
        c = Code(module, name, [PTR, PTR, I64], vectors)
        source, target, count = c.function.args
        with c.loop(0, count, c.width) as turn:
            value = LOWERINGS[name](c, c.load_vector(c.at(source, turn.index)))
            c.store_vector(value, c.at(target, turn.index))
        c.finish()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    code = compiler.build_text(str(module), vectors.floats)
    CODE.append(code)
    return {name: kind(code.address(name)) for name in ULPS}


def compute(name, x, width=None, item=4):
    whole = np.resize(np.asarray(x, ITEMS[item]), -(-len(x) // 16) * 16)
    result = np.empty_like(whole)
    found = functions(machine.Vectors(width or machine.width(), item))[name]
    found(whole.ctypes.data, result.ctypes.data, len(whole))
    return result[: len(x)]


def points(name, item):
    """Dense over what the format can tell apart: small and large sizes, both signs, and evenly where it bends."""
    random, count = np.random.default_rng(0), 60_000 if item == 4 else 6_000
    sizes = np.exp(random.uniform(-40, 4.6, count)) * random.choice([-1, 1], count)
    even = [np.linspace(-bound, bound, count) for bound in (2, 20, 104, 104 if item == 4 else 745)]
    x = np.concatenate([sizes, *even]).astype(ITEMS[item])
    if name in ("log", "sqrt", "rsqrt"):
        top = 87 if item == 4 else 700
        x = np.concatenate([abs(x), np.exp(random.uniform(-top, top, count)).astype(ITEMS[item])])
    return x[x > -1] if name == "log1p" else x


@cache
def truth(name, item):
    """The exact values at the points: for float32 from float64, for float64 from mpmath with 80 bits."""
    x = points(name, item)
    if item == 4:
        with np.errstate(all="ignore"):
            return TRUTH.get(name, getattr(np, name, None))(x.astype(np.float64))
    exact = mpmath.mp.clone()
    exact.prec = 80
    functions = {
        "sigmoid": lambda v: 1 / (1 + exact.exp(-v)),
        "softplus": lambda v: exact.log1p(exact.exp(v)),
        "rsqrt": lambda v: 1 / exact.sqrt(v),
    }
    function = functions.get(name) or getattr(exact, name)
    return [function(exact.mpf(float(v))) for v in x]


@pytest.mark.parametrize("item", ITEMS, ids=["float32", "float64"])
@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("name", ULPS)
def test_ulps(name, width, item):
    if width not in machine.widths():
        pytest.skip(f"this processor has no vectors of {width} floats")
    x = points(name, item)
    found, want = compute(name, x, width, item), truth(name, item)
    near = np.asarray([float(w) for w in want])
    error = np.abs(np.asarray([float(f - w) for f, w in zip(found, want, strict=True)]))
    limits = np.finfo(ITEMS[item])
    normal = (abs(near) > limits.tiny) & (abs(near) < limits.max)
    ulps = error[normal] / np.spacing(abs(near[normal]).astype(ITEMS[item]))
    worst = ulps.argmax()
    allowed = ULPS_UNFUSED.get((name, width, item), ULPS[name])
    assert ulps[worst] <= allowed, f"{ulps[worst]:.2f} ulp at {x[normal][worst]!r}"


inf, nan = math.inf, math.nan
EDGES = {
    "exp": {inf: inf, -inf: 0, nan: nan, 0: 1, 89: inf, -110: 0},
    "expm1": {inf: inf, -inf: -1, nan: nan, 0: 0, -110: -1},
    "log": {inf: inf, -1: nan, nan: nan, 0: -inf, 1: 0, 1e-40: -inf},
    "log1p": {inf: inf, -1: -inf, -2: nan, nan: nan, 0: 0},
    "tanh": {inf: 1, -inf: -1, nan: nan, 0: 0, 20: 1, -20: -1},
    "sigmoid": {inf: 1, -inf: 0, nan: nan, 0: 0.5, 200: 1, -200: 0},
    "softplus": {inf: inf, -inf: 0, nan: nan, 200: 200},
    "sin": {inf: nan, nan: nan, 0: 0},
    "cos": {inf: nan, nan: nan, 0: 1},
    "atan": {inf: math.pi / 2, -inf: -math.pi / 2, nan: nan, 0: 0},
    "erf": {inf: 1, -inf: -1, nan: nan, 0: 0, 7: 1},
    "sqrt": {inf: inf, -1: nan, nan: nan, 0: 0},
    "rsqrt": {inf: 0, -1: nan, nan: nan, 0: inf},
}


@pytest.mark.parametrize("item", ITEMS, ids=["float32", "float64"])
@pytest.mark.parametrize("name", EDGES)
def test_edges(name, item):
    # Ends that lie elsewhere in float64, whose range is wider.
    edges = {v if item == 4 or abs(v) < 80 else 10 * v: want for v, want in EDGES[name].items()}
    edges = {1e-310 if item == 8 and v == 1e-40 else v: want for v, want in edges.items()}
    want = np.array(list(edges.values()), ITEMS[item])
    if item == 8:
        want = np.where(want == 200, 2000, want)
    np.testing.assert_array_equal(compute(name, list(edges), item=item), want)


def test_tails_are_relatively_exact():
    assert compute("sigmoid", [-20.0])[0] == pytest.approx(2.0611536e-9, rel=3e-7)
    assert compute("softplus", [-30.0])[0] == pytest.approx(9.357623e-14, rel=3e-7)
    assert compute("tanh", [1e-20])[0] == np.float32(1e-20)
    assert compute("expm1", [-1e-20])[0] == np.float32(-1e-20)
