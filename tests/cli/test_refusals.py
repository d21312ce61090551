"""What tracing cannot see, and how the error says so: the line, the cause and the way out."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

import elman
from elman.cells import get
from elman.equations import (
    blocks,
    tanh,
    total,
    where,
)
from elman.errors import CellError, EquationError

# What cannot be traced. The line marked `# here` is the one the error must name; `way out` is in its message.


def data_dependent_if(x, h, p):
    a = p.a(x, h)
    if a > 0:  # here
        return a
    return h


def short_circuit(x, h, p):
    return p.a(x) > 0 and h  # here


def builtin_max(x, h, p):
    return max(h, p.a(x))  # here


def float_of(x, h, p):
    return p.a(x) * float(h)  # here


def int_of(x, h, p):
    return p.a(x) * int(h)  # here


def math_of(x, h, p):
    return p.a(x) * math.tanh(h)  # here


def numpy_ufunc(x, h, p):
    return np.tanh(p.a(x, h))  # here


def numpy_array(x, h, p):
    return p.a(x) + np.asarray(h)  # here


def numpy_mean(x, h, p):
    return p.a(x) + np.mean(h)  # here


def unknown_torch(x, h, p):
    return torch.sinc(p.a(x, h))  # here


def unknown_functional(x, h, p):
    return functional.softmax(p.a(x, h), dim=-1)  # here


def unknown_method(x, h, p):
    return p.a(x, h).mean()  # here


def tensor_constant(x, h, p):
    return h * torch.ones(3) + p.a(x)  # here


def slicing(x, h, p):
    a = p.a(x, h)
    return a[:2]  # here


def length(x, h, p):
    return p.a(x) / len(h)  # here


def walking(x, h, p):
    return sum(u for u in h) + p.a(x)  # here


def unpacking(x, h, p):
    a, b = p.a(x, h)  # here
    return a + b


def matrix_product(x, h, p):
    return p.a(x) @ h  # here


def equals(x, h, p):
    return where(h == 0, p.a(x), h)  # here


def remainder(x, h, p):
    return p.a(x) % 2 + h  # here


def power_by_a_value(x, h, p):
    return p.a(x) ** h  # here


def number_to_a_power(x, h, p):
    return 2**h + p.a(x)  # here


def twice(x, h, p):
    a = p.a(x, h)
    return a + p.a(h)  # here


def sizes_that_do_not_meet(x, h, p):
    return tanh(p.a(x, size="own") + p.b(h, size="other"))  # here


def comparison_as_number(x, h, p):
    return p.a(x) + (h > 0)  # here


def comparison_projected(x, h, p):
    return p.a(x, h > 0)  # here


def number_as_condition(x, h, p):
    return where(h, p.a(x), 0.0)  # here


def total_of_a_comparison(x, h, p):
    return p.a(x, h) * total(h > 0)  # here


def total_of_numbers(x, h, p):
    return p.a(x, h) * total(1.0)  # here


def a_number_projected(x, h, p):
    return p.a(x, 1.0) + h  # here


def item_of_p(x, h, p):
    return p["a"](x, h)  # here


def size_of_no_name(x, h, p):
    return p.a(x, h, size=3)  # here


def no_blocks(x, h, p):
    return p.a(x, blocks(h, 0))  # here


def name_clash(x, h, p):
    a = p.a(x, h)
    return a + p.ih(tanh(h))  # here


def too_many_arguments(x, h, p):
    return torch.tanh(p.a(x, h)) + torch.where(h > 0, h)  # here


def options_of_torch(x, h, p):
    return functional.softplus(p.a(x, h), beta=2)  # here


def raises(x, h, p):
    a = p.a(x, h)
    raise KeyError("no such thing")  # here
    return a


def no_such_name(x, h, p):
    return tanhh(p.a(x, h))  # noqa: F821 # here


KEPT = []


def another_trace(x, h, p):
    KEPT.append(h)
    return p.a(x) + KEPT[0]  # here


def too_many_values(x, h, p):
    a = p.a(x, h)
    return a, h, h  # here


def too_few_values(x, h, c, p):
    return p.a(x, h, c)  # here


def returns_a_number(x, h, p):
    p.a(x, h)
    return 1.0  # here


def returns_nothing(x, h, p):
    p.a(x, h)  # here


def returns_a_comparison(x, h, p):
    return p.a(x, h) > 0  # here


def returns_a_dict(x, h, p):
    return {"h": p.a(x, h)}  # here


def raw_x(x, h, p):
    return tanh(x + p.a(h))  # here


def unused(x, h, p):
    p.b(x)  # here
    return p.a(x, h)


def new_state_of_another_size(x, h, c, p):
    return p.a(x, h, size="hidden"), p.c(h, size="own") * total(c * h)  # here


REFUSED = [
    (data_dependent_if, "where(condition"), (short_circuit, "where("), (builtin_max, "maximum("),
    (float_of, "float()"), (int_of, "int()"), (math_of, "elman.equations"), (numpy_ufunc, "numpy.tanh"),
    (numpy_array, "numpy"), (numpy_mean, "mean"), (unknown_torch, "torch.sinc"), (unknown_functional, "softmax"),
    (unknown_method, "mean"), (tensor_constant, "Tensor"), (slicing, "projection for each part"),
    (length, "units(value)"), (walking, "walk"), (unpacking, "walk"), (matrix_product, "p.name(value)"),
    (equals, "eq(a, b)"), (remainder, "%"), (power_by_a_value, "exp("), (number_to_a_power, "exp("),
    (twice, "used twice"), (sizes_that_do_not_meet, "'own' and 'other'"), (comparison_as_number, "where("),
    (comparison_projected, "where("), (number_as_condition, "comparison"), (total_of_a_comparison, "where("),
    (total_of_numbers, "values of the step"), (a_number_projected, "float"), (item_of_p, "p.name(x, h)"),
    (size_of_no_name, "size="), (no_blocks, "count=0"), (name_clash, "rename p.ih"), (too_many_arguments, "where"),
    (options_of_torch, "softplus"), (raises, "no such thing"), (no_such_name, "tanhh"),
    (too_many_values, "returns 1 values"), (too_few_values, "returns 2 values"), (returns_a_number, "float"),
    (returns_nothing, "NoneType"), (returns_a_comparison, "comparison"), (returns_a_dict, "dict"),
    (raw_x, 'sizes={"x": "hidden"}'), (unused, "remove it"), (new_state_of_another_size, "sizes="),
]  # fmt: skip


def marked_line(function) -> int:
    lines, first = inspect.getsourcelines(function)
    return first + next(i for i, line in enumerate(lines) if line.rstrip().endswith("# here"))


@pytest.mark.parametrize(("function", "way_out"), REFUSED, ids=[f.__name__ for f, _ in REFUSED])
def test_refusals_name_the_line_and_the_way_out(function, way_out):
    with pytest.raises(EquationError) as caught:
        elman.cell(function).program()
    message = str(caught.value)
    assert f"test_refusals.py:{marked_line(function)}:" in message, message
    assert way_out in message, message


def test_every_refusal_above_is_tried():
    written = {f.__name__ for f, _ in REFUSED} | {"another_trace"}
    here = inspect.getsource(inspect.getmodule(test_every_refusal_above_is_tried))
    assert here.count("# here\n") == len(written)


def test_a_value_of_another_trace():
    cell = elman.cell(another_trace)
    cell.program()
    with pytest.raises(EquationError, match=rf"py:{marked_line(another_trace)}: .*another trace"):
        cell.program(bias=False)


def test_refusals_in_code_without_a_file():
    """A cell typed at the prompt: the error still names its own line and not one of ours."""
    space = {"elman": elman}
    exec(compile("@elman.cell\ndef typed(x, h, p):\n    return p.a(x) + float(h)\n", "<stdin>", "exec"), space)
    with pytest.raises(EquationError, match=r"^<stdin>:3: "):
        space["typed"].program()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: elman.cell(lambda x, p: p.a(x)), "at least one state"),
        (lambda: elman.cell(lambda x, h, *more: x), "more"),
        (lambda: elman.cell(lambda x, h, p, **more: x), "more"),
        (lambda: elman.cell(bias="two")(lambda x, h, p: p.a(x)), "one, each, none"),
        (lambda: elman.cell(sizes={"k": "own"})(lambda x, h, p: p.a(x)), "'k'"),
        (lambda: elman.cell(inputs={"gap": 1})(lambda x, h, p: p.a(x)), "gap"),
    ],
)
def test_signatures_that_are_no_cell(make, message):
    with pytest.raises(EquationError, match=message):
        make()


def test_an_option_needs_a_default():
    with pytest.raises(EquationError, match="'alpha' needs a default"):

        @elman.cell
        def f(x, h, p, *, alpha):
            return p.a(x, h)


def test_options():
    with pytest.raises(CellError, match="did you mean 'nonlinearity'"):
        get("rnn").program(nonlinarity="relu")
    with pytest.raises(EquationError, match=r"'tan'; it is one of tanh, relu"):
        get("rnn").program(nonlinearity="tan")
    assert get("rnn").program(nonlinearity="relu") != get("rnn").program()
    assert get("rnn").program() is get("rnn").program(nonlinearity="tanh")


def test_options_are_plain_values():
    with pytest.raises(EquationError, match="'nonlinearity' is a builtin_function_or_method"):
        get("rnn").program(nonlinearity=torch.tanh)


def test_unknown_cells_offer_the_nearest(tmp_path):
    with pytest.raises(CellError, match="did you mean 'lstm'"):
        get("lstn")
    with pytest.raises(CellError, match="no such file"):
        get(str(tmp_path / "none.py:f"))
    file = tmp_path / "mine.py"
    file.write_text("import elman\n\n@elman.cell\ndef mine(x, h, p):\n    return p.h(x, h)\n")
    assert get(f"{file}:mine").name == get(str(file)).name == "mine"
    with pytest.raises(CellError, match="did you mean 'mine'"):
        get(f"{file}:mines")
    file.write_text("1 / 0\n")
    with pytest.raises(CellError, match="ZeroDivisionError"):
        get(f"{file}:mine")
