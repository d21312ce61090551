"""`elman check`: it passes what is right, and finds each kind of fault with the entry that shows it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from elman.backends import BACKENDS
from elman.backends.reference import Reference
from elman.cells import REGISTRY, get
from elman.checks import Subject, check
from elman.checks.cell import CHECKS
from elman.cli import run
from elman.equations import TABLE, cell, exp, log, stop_gradient, tanh


def verdicts(result):
    return {each["name"]: each["verdict"] for each in result["checks"]}


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lstm", {}),
        ("lstm_projected", {"proj_size": 3}),
        ("cfc", {"backbone": 4}),
        ("slstm", {"heads": 3}),
        ("scrn", {}),
    ],
)
def test_cells_of_the_catalogue_pass(name, options):
    result = check(Subject(get(name), options, seed=2))
    assert set(verdicts(result).values()) == {"ok"}, result
    assert result["ok"]


@pytest.mark.slow
@pytest.mark.parametrize("name", REGISTRY)
def test_every_cell_of_the_catalogue_passes(name):
    result = check(Subject(get(name)))
    assert set(verdicts(result).values()) == {"ok"}, result


def test_what_is_not_finite_is_found():
    @cell
    def bad(x, h, p):
        return log(p.a(x, h))

    found = check(Subject(bad))
    assert verdicts(found) == {"finite": "failed"} | dict.fromkeys(list(CHECKS)[1:], "skipped")
    example = found["checks"][0]["counter_example"]
    assert example["tensor"] == "output"
    assert example["shape"] == "B=3, T=7, I=2, H=5"
    assert example["seed"] == 0


def test_a_gradient_that_is_stopped_on_purpose_is_no_fault():
    @cell
    def straight(x, h, p):
        return tanh(p.a(x) + stop_gradient(h))

    assert verdicts(check(Subject(straight)))["gradient"] == "skipped"


@pytest.mark.full
def test_a_wrong_derivative_is_found(monkeypatch):
    # Cells of its own: the kernels of the catalogue's were perhaps made before.
    @cell
    def flat(x, h, p):
        return log(exp(p.a(x)) + exp(p.b(h))) / 8

    @cell
    def curved(x, h, p):
        return tanh(p.a(x, h))

    wrong = replace(TABLE["tanh"], derivative=lambda g, y, a: [0.99 * g * (1 - y * y)])
    monkeypatch.setitem(TABLE, "tanh", wrong)
    assert verdicts(check(Subject(flat)))["gradient"] == "ok"  # there is no tanh in it
    found = next(each for each in check(Subject(curved))["checks"] if each["name"] == "gradient")
    assert found["verdict"] == "failed"
    example = found["counter_example"]
    assert example["tensor"] == "gradient of x"
    assert abs(example["found"] - example["wanted"]) > 1e-6
    assert example["shape"] == "B=2, T=3, I=2, H=3"


class Wrong(Reference):
    """Takes everything and does one thing wrong."""

    name = "cpu"

    def __init__(self, fault):
        self.fault = fault

    def run(self, call):
        if self.fault == "raises":
            raise IndexError("out of the kernel")
        if self.fault == "no lengths":
            call = replace(call, valid=None)
        if self.fault == "no resets":
            call = replace(call, reset=None)
        if self.fault == "batch":
            call = replace(call, x=call.x + 1e-6 * call.x.sum(1, keepdim=True))
        result = super().run(call)
        if self.fault == "state":
            return replace(result, states=tuple(1.001 * s for s in result.states))
        return replace(result, output=1.001 * result.output) if self.fault == "output" else result


@pytest.mark.parametrize(
    ("fault", "failing"),
    [
        ("no lengths", {"backend", "lengths"}),
        ("no resets", {"backend", "resets"}),
        ("batch", {"rows", "lengths"}),
        ("state", {"backend", "halves"}),
        ("output", {"backend"}),
    ],
)
def test_a_wrong_backend_is_found(monkeypatch, fault, failing):
    monkeypatch.setitem(BACKENDS, "cpu", Wrong(fault))
    found = check(Subject(get("janet")))
    assert failing <= {name for name, verdict in verdicts(found).items() if verdict == "failed"}, verdicts(found)
    assert not found["ok"]


def test_a_backend_that_breaks_is_a_failed_check(monkeypatch, capsys):
    monkeypatch.setitem(BACKENDS, "cpu", Wrong("raises"))
    assert run(["check", "janet", "--no-speed"]) == 2
    assert "failed   finite    IndexError: out of the kernel" in capsys.readouterr().out


CELLS = """import elman
from elman.equations import tanh, log

@elman.cell(sizes={"x": "hidden"}, inputs={"gap": 1, "gain": "hidden"})
def fine(x, h, p, *, gap, gain, k=2.0):
    return tanh(x + k * gap * h + gain * p.a(h))

@elman.cell
def bad(x, h, p):
    return log(p.a(x, h))

@elman.cell
def untraced(x, h, p):
    return max(p.a(x, h), 0)
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.py").write_text(CELLS)
    return f"{tmp_path}/mine.py"


@pytest.mark.full
def test_the_command_says_yes(file, capsys):
    assert run(["check", f"{file}:fine", "--set", "k=0.5", "--seed", "3", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ok"]
    assert result["options"] == {"k": 0.5}
    assert result["seed"] == 3
    assert result["speed"]["peers"]["reference loop"]["ratio"] > 0
    assert result["speed"]["shape"] == [32, 128, 64, 64]


def test_the_command_says_no_and_where(file, capsys):
    assert run(["check", f"{file}:bad", "--no-speed"]) == 2
    out = capsys.readouterr().out
    assert "failed   finite    output[0, 0, 0] is nan and should be a number, at B=3, T=7, I=2, H=5, seed 0" in out
    assert out.endswith("failed: finite\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["untraced"], "mine.py:14: `return max(p.a(x, h), 0)`"),
        (["fin"], "did you mean 'fine'"),
        (["fine", "--set", "q=1"], "has no option 'q'"),
        (["fine", "--set", "k"], "want name=value"),
        (["fine", "--set", "k=text"], "mine.py:6"),
    ],
)
def test_the_command_refuses_in_a_line(file, capsys, arguments, words):
    name, *rest = arguments
    assert run(["check", f"{file}:{name}", "--no-speed", *rest]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err
