"""Stand-ins for torch.nn's RNN, LSTM, GRU and their cells: its constructors, state_dict, errors and repr.

They inherit torch.nn's modules, which hold the parameters and check what they are given; the step that runs is
the catalogue's program, on Elman's backends.
"""

from __future__ import annotations

import functools
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from elman import cells
from elman.backends import Call, choose
from elman.equations import Program
from elman.layers import stack as stacks
from elman.layers.inputs import stacked
from elman.layers.stack import Noise, Stack, States
from elman.sequences import Batch


@functools.lru_cache(maxsize=256)
def _stack_of(
    cell: str, options: tuple[tuple[str, Any], ...], bias: bool, sizes: tuple[int, int, int, int], bidirectional: bool,
    dropout: float,
) -> Stack:  # fmt: skip
    """The stack of a module's choices, made once; ``sizes`` are input, hidden, layers and projection."""
    input_size, hidden_size, layers, projection = sizes
    return Stack.of(
        cells.get(cell).program(bias=bias, **dict(options)),
        input_size,
        [hidden_size] * layers,
        {"proj_size": projection} if projection else {},
        bidirectional=bidirectional,
        noise=Noise(dropout=dropout),
    )


class _StandIn(nn.RNNBase):
    """What the three layers share: torch.nn's checks, then Elman's stack."""

    def _cell(self) -> tuple[str, tuple[tuple[str, Any], ...]]:
        """The catalogue's cell and its options."""
        raise NotImplementedError

    def _stack(self) -> Stack:
        sizes = (self.input_size, self.hidden_size, self.num_layers, self.proj_size)
        return _stack_of(*self._cell(), self.bias, sizes, bool(self.bidirectional), self.dropout)

    def _given(self, hx: Any) -> tuple[Tensor, ...]:
        """The states as a tuple."""
        return (hx,)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run over ``input``, as torch.nn's module of this name: (T, B, I), (B, T, I) with ``batch_first``, (T, I) or a
        PackedSequence; ``hx`` (L D, B, H), zeros where None."""
        data = input.data if isinstance(input, PackedSequence) else input
        if data.device.type != "cpu":  # torch's kernel takes all layers and directions at once
            return super().forward(input, hx)
        self._check_dimensions(input, hx)
        batch = self._read(input)
        stack = self._stack()
        states = self._states(stack, batch, input, hx)
        if batch.x.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        sequence = stacks.Sequence(batch.x, batch.mask)
        ran = stacks.run(stack, lambda name: getattr(self, name), sequence, states, self.training)
        joined = tuple(
            batch.state_out(stacked([direction[k] for layer in ran.states for direction in layer]))
            for k in range(len(stack.program.states))
        )
        return batch.leave(ran.output), joined if len(joined) > 1 else joined[0]

    def _check_dimensions(self, input: Any, hx: Any) -> None:
        if isinstance(input, PackedSequence):
            return
        name, tensor = type(self).__name__, " tensor" if isinstance(self, nn.RNN) else ""
        if input.dim() not in (2, 3):
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {input.dim()}D{tensor} instead")
        if hx is None:
            return
        want = input.dim()
        kind = "batched 3-D" if want == 3 else "unbatched 2-D"
        dims = [h.dim() for h in self._given(hx)]
        if any(dim != want for dim in dims) and len(dims) == 2:
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {want}-D but got ({dims[0]}-D, {dims[1]}-D) tensors"
            )
        if any(dim != want for dim in dims):
            raise RuntimeError(f"For {kind} input, hx should also be {want}-D but got {dims[0]}-D tensor")

    def _read(self, input: Any) -> Batch:
        if isinstance(input, PackedSequence):
            self.check_input(input.data, input.batch_sizes)
        else:
            whole = input if input.dim() == 3 else input.unsqueeze(0 if self.batch_first else 1)
            self.check_input(whole, None)
        return Batch.of(input, self.input_size, batch_first=self.batch_first)

    def _states(self, stack: Stack, batch: Batch, input: Any, hx: Any) -> States:
        if hx is None:
            return stack.zero_states(batch.x.shape[1], batch.x)
        arrays = tuple(batch.state_in(h) for h in self._given(hx))
        sizes = input.batch_sizes if isinstance(input, PackedSequence) else None
        whole = batch.x if sizes is not None or not self.batch_first else batch.x.transpose(0, 1)
        data = input.data if sizes is not None else whole
        self.check_forward_args(data, arrays if len(arrays) > 1 else arrays[0], sizes)  # type: ignore[arg-type]
        count = stack.directions
        return [[tuple(h[layer * count + d] for h in arrays) for d in range(count)] for layer in range(self.num_layers)]


class RNN(_StandIn, nn.RNN):
    """``torch.nn.RNN`` on Elman's equations (Elman 1990).

    >>> import torch, elman
    >>> layer = elman.RNN(100, 20, num_layers=2)
    >>> output, h_n = layer(torch.zeros(10, 3, 100))
    >>> output.shape, h_n.shape, layer
    (torch.Size([10, 3, 20]), torch.Size([2, 3, 20]), RNN(100, 20, num_layers=2))
    """

    def _cell(self) -> tuple[str, tuple[tuple[str, Any], ...]]:
        return "rnn", (("nonlinearity", self.nonlinearity),)


class LSTM(_StandIn, nn.LSTM):
    """``torch.nn.LSTM`` on Elman's equations, with ``proj_size``.

    Gers et al. 2000; Sak et al. 2014.

    >>> import torch, elman
    >>> output, (h_n, c_n) = elman.LSTM(3, 5, proj_size=2, batch_first=True)(torch.zeros(4, 7, 3))
    >>> output.shape, h_n.shape, c_n.shape
    (torch.Size([4, 7, 2]), torch.Size([1, 4, 2]), torch.Size([1, 4, 5]))
    """

    def _cell(self) -> tuple[str, tuple[tuple[str, Any], ...]]:
        return "lstm_projected" if self.proj_size else "lstm", ()

    def _given(self, hx: Any) -> tuple[Tensor, ...]:
        return (hx[0], hx[1])


class GRU(_StandIn, nn.GRU):
    """``torch.nn.GRU`` on Elman's equations (Cho et al. 2014, reset after the product).

    >>> import torch, elman
    >>> output, h_n = elman.GRU(3, 5, bidirectional=True)(torch.zeros(7, 4, 3))
    >>> output.shape, h_n.shape
    (torch.Size([7, 4, 10]), torch.Size([2, 4, 5]))
    """

    def _cell(self) -> tuple[str, tuple[tuple[str, Any], ...]]:
        return "gru", ()


def _step(module: nn.RNNCellBase, program: Program, x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """One step of ``program`` with the module's parameters: the new states (B, H)."""
    parameters = {p.name: getattr(module, p.name) for p in program.parameters}
    sizes = program.sizes(module.input_size, module.hidden_size)
    call = Call(program, sizes, parameters, x.unsqueeze(0), states)
    return choose(call).run(call).states


def _check_step(module: nn.RNNCellBase, input: Tensor, states: tuple[Tensor, ...], named: tuple[str, ...]) -> None:
    name = type(module).__name__
    if input.dim() not in (1, 2):
        raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
    for state, what in zip(states, named, strict=False):
        if state.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected {what} to be 1D or 2D, got {state.dim()}D instead")


def _rows(module: nn.RNNCellBase, input: Tensor, states: tuple[Tensor, ...] | None, count: int) -> tuple[Tensor, ...]:
    """The states as (B, H), zeros where None, checked against ``input`` (B, I) in torch's words."""
    if input.size(1) != module.input_size:
        raise RuntimeError(f"input has inconsistent input_size: got {input.size(1)} expected {module.input_size}")
    if states is None:
        return (input.new_zeros(input.size(0), module.hidden_size),) * count
    for i, state in enumerate(states):
        if state.size(0) != input.size(0):
            raise RuntimeError(f"Input batch size {input.size(0)} doesn't match hidden{i} batch size {state.size(0)}")
        if state.size(1) != module.hidden_size:
            raise RuntimeError(
                f"hidden{i} has inconsistent hidden_size: got {state.size(1)}, expected {module.hidden_size}"
            )
    return states


class RNNCell(nn.RNNCell):
    """``torch.nn.RNNCell`` on Elman's equations: one step, x (B, I) or (I,), h (B, H) or (H,).

    >>> import torch, elman
    >>> elman.RNNCell(3, 5)(torch.zeros(4, 3)).shape
    torch.Size([4, 5])
    """

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The new state (B, H)."""
        if input.device.type != "cpu":
            return super().forward(input, hx)
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return _one_state(self, cells.get("rnn").program(bias=self.bias, nonlinearity=self.nonlinearity), input, hx)


class GRUCell(nn.GRUCell):
    """``torch.nn.GRUCell`` on Elman's equations: one step, x (B, I) or (I,), h (B, H) or (H,).

    >>> import torch, elman
    >>> elman.GRUCell(3, 5)(torch.zeros(4, 3)).shape
    torch.Size([4, 5])
    """

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The new state (B, H)."""
        if input.device.type != "cpu":
            return super().forward(input, hx)
        return _one_state(self, cells.get("gru").program(bias=self.bias), input, hx)


def _one_state(module: nn.RNNCellBase, program: Program, input: Tensor, hx: Tensor | None) -> Tensor:
    _check_step(module, input, () if hx is None else (hx,), ("hidden",))
    batched = input.dim() == 2
    x = input if batched else input.unsqueeze(0)
    states = None if hx is None else (hx if batched else hx.unsqueeze(0),)
    (new,) = _step(module, program, x, _rows(module, x, states, 1))
    return new if batched else new.squeeze(0)


class LSTMCell(nn.LSTMCell):
    """``torch.nn.LSTMCell`` on Elman's equations: one step.

    x is (B, I) or (I,), (h, c) each (B, H) or (H,).

    >>> import torch, elman
    >>> h, c = elman.LSTMCell(3, 5)(torch.zeros(4, 3))
    >>> h.shape, c.shape
    (torch.Size([4, 5]), torch.Size([4, 5]))
    """

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The new states (h, c)."""
        if input.device.type != "cpu":
            return super().forward(input, hx)
        _check_step(self, input, hx or (), ("hx[0]", "hx[1]"))
        batched = input.dim() == 2
        x = input if batched else input.unsqueeze(0)
        states = None if hx is None else tuple(h if batched else h.unsqueeze(0) for h in hx)
        h, c = _step(self, cells.get("lstm").program(bias=self.bias), x, _rows(self, x, states, 2))
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))
