"""The benchmark and the doctor: what they count, compare and say. Nothing here is timed."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from elman.backends import BACKENDS
from elman.backends.cpu.llvm import machine
from elman.backends.reference import Reference
from elman.bench import GRID, PEERS, Plan, Shape, flops, interleave, measure, median_of, peak_gflops, table
from elman.bench.peers import OURS
from elman.cells import REGISTRY, get
from elman.checks import examine, facts
from elman.checks.machine import processor
from elman.cli import run
from elman.equations import blocks, cell, tanh

TINY = Plan(
    cells=("gru",), shapes=(Shape(2, 3, 4, 5),), rounds=1, seconds=0, pause=0, peers=("elman", "torch.nn", "torch loop")
)


@pytest.mark.parametrize(
    ("cell", "named", "multiply_adds"),
    [
        ("rnn", {}, 5 * (3 + 5)),
        ("gru", {}, 3 * 5 * (3 + 5)),
        ("gru_cho", {}, 3 * 5 * (3 + 5)),
        ("lstm", {}, 4 * 5 * (3 + 5)),
        ("peephole", {}, 4 * 5 * (3 + 5)),
        # The state that enters the products is the projected one, of size 2; then 5 units are projected to it.
        ("lstm_projected", {"proj_size": 2}, 4 * 5 * (3 + 2) + 2 * 5),
        ("jordan", {"output_size": 2}, 5 * (3 + 2) + 2 * 5),
    ],
)
def test_flops_against_hand_counts(cell, named, multiply_adds):
    program = get(cell).program()
    sizes = program.sizes(3, 5, **named)
    forward = flops(program, sizes, Shape(7, 11, 3, 5), "forward")
    assert forward == 2 * multiply_adds * 7 * 11
    assert flops(program, sizes, Shape(7, 11, 3, 5), "forward+backward") == 3 * forward


def test_flops_of_block_diagonal_products():
    @cell
    def blocky(x, h, p):
        return tanh(p.h(x, blocks(h, 2)))

    program = blocky.program()
    assert flops(program, program.sizes(3, 6), Shape(1, 1, 3, 6), "forward") == 2 * (6 * 3 + 6 * 6 // 2)


def test_shapes_are_read_and_refused(capsys):
    assert Shape.read("1,2,3,4") == Shape(1, 2, 3, 4)
    assert [Shape.read(str(shape)) for shape in GRID] == list(GRID)
    for text in ("1,2,3", "1,2,3,x", "0,2,3,4", "1,2,3,4,5", ""):
        assert run(["bench", "--shape", text]) == 2
        assert "B,T,I,H" in capsys.readouterr().err


def test_a_tiny_case():
    result = measure(TINY, peak=1e-3)
    forward_backward, forward = result["cases"]
    assert forward_backward["mode"] == "forward+backward"
    assert forward_backward["flops"] == 3 * forward["flops"] == 3 * 2 * 3 * 5 * (4 + 5) * 2 * 3
    for case in result["cases"]:
        assert list(case["peers"]) == ["elman", "torch.nn", "torch loop"]
        assert not case["aside"]
        for figures in case["peers"].values():
            assert figures["note"] == ""
            assert figures["gflops"] == pytest.approx(case["flops"] / (figures["ms"] * 1e6))
            assert figures["percent_of_peak"] == pytest.approx(100 * figures["gflops"] / 1e-3)
        assert case["peers"]["elman"]["ratio"] == 1
    lines = table(result)
    assert any(line.startswith("gru 2,3,4,5 forward+backward") for line in lines)
    assert sum(line.startswith("  torch.nn ") for line in lines) == 2
    assert max(map(len, lines)) < 100


def test_cells_without_a_counterpart_have_the_loop(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from elman.equations import cell, tanh\n\n"
        "@cell(inputs={'d': 'hidden'})\ndef slow(x, h, p, *, d):\n    return d * tanh(p.h(x, h)) + (1 - d) * h\n"
    )
    plan = replace(
        TINY,
        cells=("peephole", f"{mine}:slow"),
        peers=tuple(p for p in PEERS if p not in ("jax scan", "onnxruntime", "openvino")),
    )
    for case in measure(plan)["cases"]:
        assert list(case["peers"]) == ["elman", "reference loop"]
        assert case["peers"]["reference loop"]["note"] == ""
        assert "torch.nn" in case["aside"]


def test_a_peer_that_computes_something_else_is_marked(monkeypatch):
    def wrong(work):
        x = work.x.clone().requires_grad_()

        def step():
            output = work.layer(x)[0]
            return output, 1.01 * torch.autograd.grad(output, x, work.cotangent)[0]

        return step

    monkeypatch.setitem(PEERS, "torch.nn", wrong)
    result = measure(replace(TINY, modes=("forward+backward",)))
    peers = result["cases"][0]["peers"]
    assert peers["torch.nn"]["note"].startswith("results differ by")
    assert peers["torch loop"]["note"] == ""
    assert any("results differ" in line for line in table(result))


def test_a_peer_that_fails_is_left_out_and_ours_is_not(monkeypatch):
    def broken(work):
        raise RuntimeError("no room")

    monkeypatch.setitem(PEERS, "torch.nn", broken)
    case = measure(TINY)["cases"][0]
    assert case["aside"]["torch.nn"] == "failed: RuntimeError: no room"
    assert "torch loop" in case["peers"]
    monkeypatch.setitem(PEERS, OURS, broken)
    with pytest.raises(RuntimeError, match="no room"):
        measure(TINY)


def test_runs_are_interleaved():
    called = []
    times = interleave({name: lambda name=name: called.append(name) for name in "ab"}, rounds=3, seconds=0, pause=0)
    assert called == list("aabb" * 3)  # a warming call and a measured one, in turn
    assert {name: len(each) for name, each in times.items()} == {"a": 3, "b": 3}


def test_medians_over_processes():
    def result(ms, ratio):
        return {"peak_gflops": ms, "cases": [{"cell": "rnn", "peers": {"elman": {"ms": ms, "ratio": ratio}}}]}

    merged = median_of([result(1.0, 9.0), result(5.0, 1.0), result(2.0, 3.0)])
    assert merged["cases"][0]["peers"]["elman"] == {"ms": 2.0, "ratio": 3.0}
    assert (merged["peak_gflops"], merged["processes"]) == (2.0, 3)


@pytest.mark.parametrize("width", machine.widths())
def test_the_peak_loop_runs_at_every_width(width):
    with machine.forced(width):
        assert peak_gflops(seconds=0) > 0


COMMAND = ["bench", "--shape", "2,3,1,4", "--cell", "rnn", "--peer", "torch.nn", "--rounds", "1"]


def test_the_bench_command(capsys):
    assert run([*COMMAND, "--json"]) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert {case["mode"] for case in result["cases"]} == {"forward", "forward+backward"}
    assert result["cases"][0]["peers"].keys() == {"elman", "torch.nn"}
    assert result["peak_gflops"] > 0
    assert result["machine"]["torch"] == torch.__version__
    assert "1/2 rnn 2,3,1,4 forward+backward" in err
    assert run([*COMMAND, "--mode", "forward", "--backend", "reference"]) == 0
    assert "elman (reference)" in capsys.readouterr().out


def test_the_bench_of_the_catalogue(capsys):
    small = ["bench", "--catalogue", "--shape", "2,3,1,4", "--rounds", "1", "--cell", "lstm", "--cell", "cfc"]
    assert run([*small, "--json"]) == 0
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert [(case["cell"], case["mode"]) for case in cases] == [
        ("lstm", "forward+backward"),
        ("cfc", "forward+backward"),
    ]
    assert all(case["peers"].keys() == {"elman", "reference loop"} for case in cases)
    for case in cases:
        assert bool(case["fallback"]) == (case["backend"] == "reference")
        assert case["peers"]["reference loop"]["note"] == ""
    assert run([*small, "--backend", "reference"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("cfc") and "reference" in line for line in lines)
    assert run([*small, "--quick"]) == 2


def test_the_catalogue_s_plan_has_every_cell():
    plan = Plan.catalogue(rounds=2)
    assert [case[0] for case in plan.cases()] == list(REGISTRY)
    assert (plan.rounds, plan.peers) == (2, ("elman", "reference loop"))
    assert {str(shape) for shape in plan.shapes} == {"32,128,16,64"}


def test_the_bench_command_refuses(capsys):
    for arguments, hint in (
        (["--mode", "forwards"], "did you mean 'forward'"),
        (["--peer", "torch.n"], "did you mean 'torch.nn'"),
        (["--cell", "lstn"], "did you mean 'lstm'"),
        (["--backend", "gpu"], "there is no backend 'gpu'"),
        (["--rounds", "0"], "--rounds"),
    ):
        assert run([*COMMAND, *arguments]) == 2
        assert hint in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("name", "module"), [("jax scan", "jax"), ("onnxruntime", "onnxruntime"), ("openvino",) * 2])
def test_outside_peers_compute_the_same(name, module):
    """In a process of its own: these libraries start threads and would not survive another test's fork."""
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed: pip install 'elman[bench]'")
    command = [sys.executable, "-m", "elman", "bench", "--shape", "3,7,2,5", "--rounds", "1", "--peer", name, "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    cases = json.loads(done.stdout)["cases"]
    measured = [case for case in cases if name in case["peers"]]
    assert len(measured) == (6 if name == "jax scan" else 3)
    assert all(case["peers"][name]["note"] == "" for case in measured)
    assert not any("failed" in why for case in cases for why in case["aside"].values())


@pytest.mark.slow
def test_several_processes():
    command = [sys.executable, "-m", "elman", *COMMAND, "--mode", "forward", "--processes", "2", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(done.stdout)
    assert result["processes"] == 2
    assert result["cases"][0]["peers"].keys() == {"elman", "torch.nn"}


@pytest.mark.full
def test_the_doctor(capsys):
    code = run(["doctor", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert result["problems"] == []
    assert (code, result["ok"]) == (0, True)
    assert result["backends"].keys() == BACKENDS.keys()
    for name, cells in result["backends"].items():
        assert cells.keys() == REGISTRY.keys()
        for key, found in cells.items():
            if found["answer"] == "takes it":
                assert 0 <= found["error"] < 1e-5, (name, key)
            else:
                assert "error" not in found
    assert all("error" in found for found in result["backends"]["reference"].values())


class Wrong(Reference):
    """Takes what it does not compute rightly."""

    name = "cpu"

    def __init__(self, fault):
        self.fault = fault

    def refuses(self, call):
        return None if call.program.name in ("lstm", "gru") else "does not take it"

    def run(self, call):
        if self.fault == "gradient":  # the same value, twice the gradient
            return super().run(replace(call, x=2 * call.x - call.x.detach()))
        result = super().run(call)
        if self.fault == "raises":
            raise IndexError("out of the kernel")
        scale = float("nan") if self.fault == "nan" else 1.001
        if self.fault == "state":
            return replace(result, states=(result.states[0], *(scale * s for s in result.states[1:])))
        return replace(result, output=scale * result.output)


@pytest.mark.parametrize(
    ("fault", "cells", "words"),
    [
        ("output", 2, "errs by"),
        ("gradient", 2, "errs by"),
        ("nan", 2, "errs by nan"),
        ("state", 1, "errs by"),
        ("raises", 2, "fails on 'gru': IndexError: out of the kernel"),
    ],
)
def test_the_doctor_finds_a_wrong_backend(monkeypatch, capsys, fault, cells, words):
    monkeypatch.setitem(BACKENDS, "cpu", Wrong(fault))
    found = examine()
    assert len(found["problems"]) == cells
    assert any(words in problem and "backend 'cpu'" in problem for problem in found["problems"])
    assert found["backends"]["cpu"]["rnn"] == {"answer": "does not take it"}
    assert run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert found["problems"][0] in out
    assert "does not take it" in out
    assert "ok:" not in out


def test_the_machine_is_named(tmp_path):
    listing = tmp_path / "cpuinfo"
    listing.write_text("processor\t: 0\nmodel name\t: A Fast One\n")
    if sys.platform.startswith("linux"):
        assert processor(listing) == "A Fast One"
    assert processor(tmp_path / "nothing")
    assert facts()["threads"] == torch.get_num_threads()
