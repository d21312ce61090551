"""The CPU backend as a citizen of torch: compiling, transforms, second derivatives, threads, forks, copies."""

from __future__ import annotations

import copy
import gc
import io
import os
import subprocess
import sys
import threading

import pytest
import torch
from torch.library import opcheck

import elman
from elman import cells
from elman.backends import BACKENDS, choose, report
from elman.backends.cpu import Cpu
from elman.backends.cpu.call import engine, operator
from oracle import error, leaves, make_call

CPU = Cpu()


def layer(name="lstm", **options):
    torch.manual_seed(0)
    return elman.Recurrent(name, 3, 5, backend="cpu", **options)


def gradients(module, run, x):
    leaves = [x, *module.parameters()]
    return torch.autograd.grad(run(x)[0].square().sum(), leaves, materialize_grads=True)


def test_auto_takes_it_and_says_why_not():
    single = make_call(cells.get("lstm"), dtype=torch.float32)
    assert choose(single).name == "cpu"
    assert choose(make_call(cells.get("lstm"), dtype=torch.bfloat16)).name == "torch"
    assert choose(make_call(cells.get("peephole"), dtype=torch.bfloat16)).name == "reference"
    assert next(iter(BACKENDS)) == "cpu"
    assert "bfloat16" in report(make_call(cells.get("lstm"), dtype=torch.bfloat16))["cpu"]


@pytest.mark.full
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "peephole"])
def test_compiles_without_a_graph_break(name):
    torch._dynamo.reset()
    module = layer(name, bidirectional=True, num_layers=2)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
    x = torch.randn(4, 2, 3, requires_grad=True)
    assert torch.equal(compiled(x)[0], module(x)[0])
    for own, other in zip(gradients(module, module, x), gradients(module, compiled, x), strict=True):
        assert torch.equal(own, other)
    with torch.no_grad():
        assert torch.equal(compiled(x)[0], module(x)[0])


@pytest.mark.full
def test_compiles_for_any_shape():
    torch._dynamo.reset()
    module = layer("gru")
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)
    for B, T in ((2, 4), (3, 7)):
        x, lengths = torch.randn(T, B, 3, requires_grad=True), torch.randint(0, T + 1, (B,))
        assert torch.equal(compiled(x, lengths=lengths)[0], module(x, lengths=lengths)[0])


def test_the_operator_is_sound():
    program = cells.get("lstm").program()
    call = make_call(program, B=2, T=3, dtype=torch.float32)
    args = (
        operator.text_of(program), list(call.sizes.values()), call.x, list(call.states), [],
        [call.parameters[p.name] for p in program.parameters], [], None, None, False, True,
    )  # fmt: skip
    checks = ("test_schema", "test_faketensor")
    opcheck(operator.sequence, args, test_utils=checks)
    found = operator.sequence(*args)
    grads = [torch.ones_like(found[0]), None, None]
    back = (*args[:-1], grads, found[0].detach(), [k.detach() for k in found[3:]], [True] * 7)
    opcheck(operator.sequence_backward, back, test_utils=checks)


def test_fake_tensors():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        output, (h, c) = layer()(torch.randn(4, 2, 3))
    assert (output.shape, h.shape, c.shape) == ((4, 2, 5), (1, 2, 5), (1, 2, 5))


def test_second_derivatives_go_through_the_reference():
    call = make_call(cells.get("gru"), dtype=torch.float32)
    wanted = list(leaves(call).values())

    def second(backend):
        first = torch.autograd.grad(backend.run(call).output.square().sum(), wanted, create_graph=True)
        total = sum(g.square().sum() for g in first)
        return torch.autograd.grad(total, wanted)

    for own, other in zip(second(CPU), second(BACKENDS["reference"]), strict=True):
        assert error(own, other) < 1e-5


def test_transforms_and_forward_mode_choose_the_reference():
    module = elman.Recurrent("rnn", 3, 5)
    x, tangent = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    parameters = dict(module.named_parameters())

    def loss(p, x):
        return torch.func.functional_call(module, p, (x,))[0].square().sum()

    by_transform = torch.func.grad(loss)(parameters, x)
    by_autograd = torch.autograd.grad(loss(parameters, x), list(parameters.values()))
    for a, b in zip(by_transform.values(), by_autograd, strict=True):
        assert error(a, b) < 1e-5
    _, out = torch.func.jvp(lambda x: loss(parameters, x), (x,), (tangent,))
    assert out.isfinite()
    each = torch.func.vmap(lambda x: module(x)[0], in_dims=1, out_dims=1)(x)
    assert error(each, module(x)[0]) < 1e-6


def test_copies_and_pickles_run_alike():
    module, x = layer(), torch.randn(4, 2, 3)
    want = module(x)[0]
    assert torch.equal(copy.deepcopy(module)(x)[0], want)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x)[0], want)


def test_another_default_dtype():
    module, x = layer(), torch.randn(4, 2, 3)
    want = module(x)[0]
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(module(x)[0], want)
    finally:
        torch.set_default_dtype(torch.float32)


def test_deterministic_algorithms():
    module, x = layer(), torch.randn(4, 2, 3, requires_grad=True)
    usual = gradients(module, module, x)
    torch.use_deterministic_algorithms(True)
    try:
        found = gradients(module, module, x)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(found, usual, strict=True))


def test_many_threads_call_one_layer():
    module = elman.Recurrent("gru", 7, 21, backend="cpu")
    inputs = [torch.randn(9, 1 + i, 7, requires_grad=True) for i in range(6)]
    want = [gradients(module, module, x) for x in inputs]
    wrong = []

    def work(i):
        for _ in range(10):
            found = gradients(module, module, inputs[i])
            wrong.extend(i for a, b in zip(found, want[i], strict=True) if not torch.equal(a, b))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.full
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_runs_on_one_thread():
    code = """
import os, torch, elman
module, x = elman.Recurrent("lstm", 16, 64, backend="cpu"), torch.randn(50, 32, 16)
want = module(x)[0]
child = os.fork()
if not child:
    os._exit(0 if (module(x)[0] - want).abs().max() < 1e-5 else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=60)
    assert done.returncode == 0


@pytest.mark.slow
def test_of_many_sizes_the_last_are_kept_and_the_others_made_again():
    def gradient(hidden, output=None):
        torch.manual_seed(hidden)
        layer = elman.Recurrent("gru", 2, hidden, backend="cpu")
        output = layer(torch.ones(3, 1, 2))[0]
        return layer, output

    engine.forget()
    gc.collect()
    others = sum(isinstance(one, engine.Engine) for one in gc.get_objects())  # held by somebody else
    layer, output = gradient(5)
    (want,) = torch.autograd.grad(output.sum(), [layer.weight_hh_l0], retain_graph=True)
    for hidden in range(6, 6 + engine.KEPT + 20):
        gradient(hidden)
    gc.collect()
    assert (
        sum(isinstance(one, engine.Engine) for one in gc.get_objects()) <= engine.KEPT + others + 4
    )  # what finds them may differ by a few
    (again,) = torch.autograd.grad(output.sum(), [layer.weight_hh_l0])  # its engine was forgotten meanwhile
    assert torch.equal(again, want)
