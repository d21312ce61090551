"""The vector functions of the CPU backend, in units in the last place against float64, and at their edges."""

from __future__ import annotations

import ctypes
import math
from functools import cache

import numpy as np
import pytest
from llvmlite import ir

from elman.backends.cpu import compiler, machine
from elman.backends.cpu.emit import I64, PTR, Code
from elman.backends.cpu.lowering import LOWERINGS

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
DENORMAL = 1.18e-38


@cache
def functions(width):
    """Each function over an array, at a vector width."""
    module = ir.Module()
    for name in ULPS:
        c = Code(module, name, [PTR, PTR, I64], width)
        source, target, count = c.function.args
        with c.loop(0, count, width) as turn:
            value = LOWERINGS[name](c, c.load_vector(c.at(source, turn.index)))
            c.store_vector(value, c.at(target, turn.index))
        c.finish()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    return {n: kind(address) for n, address in compiler.build(str(module), width, tuple(ULPS)).items()}


def compute(name, x, width=None):
    whole = np.resize(np.asarray(x, np.float32), -(-len(x) // 16) * 16)
    result = np.empty_like(whole)
    functions(width or machine.width())[name](whole.ctypes.data, result.ctypes.data, len(whole))
    return result[: len(x)]


def points(name):
    """Dense over what float32 can tell apart: small and large sizes, both signs, and evenly where it bends."""
    random = np.random.default_rng(0)
    sizes = np.exp(random.uniform(-40, 4.6, 60_000)) * random.choice([-1, 1], 60_000)
    even = [np.linspace(-bound, bound, 60_000) for bound in (2, 20, 104)]
    x = np.concatenate([sizes, *even]).astype(np.float32)
    if name in ("log", "sqrt", "rsqrt"):
        x = np.concatenate([abs(x), np.exp(random.uniform(-87, 88, 60_000)).astype(np.float32)])
    return x[x > -1] if name == "log1p" else x


@pytest.mark.parametrize("width", machine.WIDTHS)
@pytest.mark.parametrize("name", ULPS)
def test_ulps(name, width):
    if width not in machine.widths():
        pytest.skip(f"this processor has no vectors of {width} floats")
    x = points(name)
    with np.errstate(all="ignore"):
        want = TRUTH.get(name, getattr(np, name, None))(x.astype(np.float64))
    found = compute(name, x, width)
    normal = (abs(want) > DENORMAL) & (abs(want) < np.finfo(np.float32).max)
    ulps = abs(found - want)[normal] / np.spacing(abs(want[normal]).astype(np.float32))
    worst = ulps.argmax()
    assert ulps[worst] <= ULPS[name], f"{ulps[worst]:.2f} ulp at {x[normal][worst]!r}"


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
    "erf": {inf: 1, -inf: -1, nan: nan, 0: 0, 5: 1},
    "sqrt": {inf: inf, -1: nan, nan: nan, 0: 0},
    "rsqrt": {inf: 0, -1: nan, nan: nan, 0: inf},
}


@pytest.mark.parametrize("name", EDGES)
def test_edges(name):
    found = compute(name, list(EDGES[name]))
    np.testing.assert_array_equal(found, np.array(list(EDGES[name].values()), np.float32))


def test_tails_are_relatively_exact():
    assert compute("sigmoid", [-20.0])[0] == pytest.approx(2.0611536e-9, rel=3e-7)
    assert compute("softplus", [-30.0])[0] == pytest.approx(9.357623e-14, rel=3e-7)
    assert compute("tanh", [1e-20])[0] == np.float32(1e-20)
    assert compute("expm1", [-1e-20])[0] == np.float32(-1e-20)
