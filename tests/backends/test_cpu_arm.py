"""The CPU backend on ARM: its products' inner loops are fused multiply-adds that keep their sums in registers; and,
emulated, its kernels compute what the reference does."""

from __future__ import annotations

import re

import pytest
import torch

import elman
from arm import EMULATED, emulating, writing
from assembly import inner_loops as loops_of
from elman.backends.cpu.llvm import machine
from oracle import error


def inner_loops(assembly: str) -> list[str]:
    """The inner loops of products, on ARM."""
    jump = r"\n\s+(?:b\.\w+|cbn?z\s+\w+,|tbn?z\s+\w+, #\w+,)"
    return loops_of(assembly, jump, r"\bfmla\b", r"\bf(mul|div)\b")


@pytest.mark.full
@pytest.mark.parametrize("hidden", [24, 139])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "peephole"])
def test_no_inner_loop_touches_the_stack(cell, hidden, monkeypatch):
    with writing(monkeypatch) as written:
        layer, x = elman.Recurrent(cell, 24, hidden), torch.randn(2, 16, 24, requires_grad=True)
        monkeypatch.setattr("elman.backends.cpu.llvm.native.Kernel.__call__", lambda self, values: None)
        layer(x)[0].sum().backward()
        assert len(written.texts) >= 3
        modules = [module for number in written.texts for module in written.modules(number)]
        loops = [loop for module in modules for loop in inner_loops(machine.target_machine(4).emit_assembly(module))]
    assert len(loops) >= 3
    for loop in loops:
        assert not re.search(r"\[sp\b", loop), loop


def test_apple_s_code_is_written_too(monkeypatch):
    with writing(monkeypatch, "aarch64-apple-darwin") as written:
        layer, x = elman.Recurrent("lstm", 3, 24), torch.randn(2, 5, 3, requires_grad=True)
        monkeypatch.setattr("elman.backends.cpu.llvm.native.Kernel.__call__", lambda self, values: None)
        layer(x)[0].sum().backward()
        code = [machine.target_machine(4).emit_object(one) for k in written.texts for one in written.modules(k)]
    assert len(code) >= 3
    assert all(one.startswith(b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01") for one in code)  # Mach-O of 64 bits, ARM


def test_the_test_can_fail():
    loop = ".LBB0_1:\n" + "\tfmla\tv0.4s, v1.4s, v2.s[0]\n" * 6 + "\tldr\tq0, [sp, #32]\n\tb.ne\t.LBB0_1\n"
    assert len(inner_loops(f"\n{loop}\n.LBB0_2:\n\tret")) == 1
    assert re.search(r"\[sp\b", inner_loops(f"\n{loop}")[0])


def test_nothing_of_it_is_kept(monkeypatch):
    torch.manual_seed(0)
    layer, x = elman.Recurrent("gru", 3, 21), torch.randn(2, 5, 3)
    with writing(monkeypatch):
        monkeypatch.setattr("elman.backends.cpu.llvm.native.Kernel.__call__", lambda self, values: None)
        layer(x)
    monkeypatch.undo()
    want = elman.Recurrent("gru", 3, 21, backend="reference")
    want.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x)[0], want(x)[0])


CASES = [
    *((cell, torch.float32, {}) for cell in ("rnn", "gru", "lstm", "peephole", "gru_cho", "layer_norm_lstm", "slstm")),
    *((cell, torch.float64, {}) for cell in ("gru", "layer_norm_lstm")),
    ("lstm", torch.float32, {"lengths": torch.tensor([7, 3, 5])}),
    ("mingru", torch.float32, {}),
]


@pytest.mark.slow
@pytest.mark.skipif(not EMULATED, reason="needs an ARM cross compiler and qemu's user emulation")
@pytest.mark.parametrize(("cell", "dtype", "more"), CASES)
def test_emulated_it_equals_the_reference(cell, dtype, more, monkeypatch, tmp_path):
    torch.manual_seed(0)
    layer = elman.Recurrent(cell, 5, 19, dtype=dtype)
    exact = elman.Recurrent(cell, 5, 19, dtype=torch.float64, backend="reference")
    exact.load_state_dict({name: value.double() for name, value in layer.state_dict().items()})
    x = torch.randn(7, 3, 5, dtype=dtype)

    def results(network, read):
        read = read.clone().requires_grad_()
        output = network(read, **more)[0]
        wanted = [read, *network.parameters()]
        (output * torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)).sum().backward()
        return [output.detach(), *(one.grad for one in wanted)]

    want = results(exact, x.double())
    with emulating(monkeypatch, tmp_path) as written:
        found = results(layer, x)
    assert len(written.texts) >= 3
    for one, truth in zip(found, want, strict=True):
        assert error(one, truth) < (1e-11 if dtype is torch.float64 else 1e-4)
