"""A step computed in torch, value by value: plainly right, for any number of rows, dtype and device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from elman.equations import TABLE
from elman.stepping.flat import Flat


class Interpreted:
    """Runs a :class:`Flat` in the dtype of its tensors, or in ``dtype``.

    >>> import elman
    >>> from elman.layers.flat import flat_step
    >>> layer = elman.Recurrent("gru", 3, 5)
    >>> step = Interpreted(flat_step(layer))
    >>> outputs, state = step({"x": torch.zeros(2, 3)}, step.initial(rows=2))
    >>> outputs["y"].shape, [part.shape for part in state]
    (torch.Size([2, 5]), [torch.Size([2, 5])])
    """

    def __init__(self, flat: Flat, dtype: torch.dtype | None = None) -> None:
        self.flat = flat
        self.dtype = dtype or flat.dtype
        self.tensors: dict[str, Tensor] = {name: tensor.to(self.dtype) for name, tensor in flat.tensors.items()}

    def initial(self, rows: int) -> list[Tensor]:
        """The states before the first step, (rows, n) each."""
        states = []
        for memory in self.flat.memories:
            begins = torch.zeros(memory.size) if memory.initial is None else memory.initial
            states.append(begins.to(self.dtype).expand(rows, -1).clone())
        return states

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor], state: Sequence[Tensor]) -> tuple[dict[str, Tensor], list[Tensor]]:
        """One step: ``inputs`` (rows, n) by name, symbols (rows,); the outputs (rows, n) by name, and the new state."""
        flat, values = self.flat, list[Tensor]()
        old = {memory.old: part for memory, part in zip(flat.memories, state, strict=True)}
        rows = len(next(iter(inputs.values())))
        for i, value in enumerate(flat.values):
            args = [values[a] for a in value.args]
            if value.op in ("input", "symbol"):
                values.append(inputs[value.name].to(self.dtype) if value.op == "input" else inputs[value.name])
            elif value.op == "state":
                values.append(old[i])
            elif value.op == "constant":
                values.append(torch.full((1, 1), value.number, dtype=self.dtype))
            elif value.op == "vector":
                values.append(self.tensors[value.name][value.first : value.first + value.size].unsqueeze(0))
            elif value.op == "product":
                values.append(self._product(i, args[0]))
            elif value.op == "row":
                values.append(self.tensors[value.name][args[0]])
            elif value.op == "total":
                sizes = [flat.values[a].size for a in value.args]
                wholes = [arg.expand(rows, size) for arg, size in zip(args, sizes, strict=True)]
                values.append(torch.stack([whole.sum(-1, keepdim=True) for whole in wholes]).sum(0))
            else:
                row = TABLE[value.op]
                numbers = {k: flat.values[value.args[k]].number for k in row.number_arguments}
                values.append(row.torch(*(numbers.get(k, arg) for k, arg in enumerate(args))))
        outputs = {name: values[i].expand(rows, flat.values[i].size) for name, i in flat.outputs.items()}
        return outputs, [values[m.new].to(self.dtype).expand(rows, m.size) for m in flat.memories]

    def _product(self, i: int, operand: Tensor) -> Tensor:
        value = self.flat.values[i]
        weight = self.tensors[value.name][value.first : value.first + value.size]
        if value.blocks == 1:
            return functional.linear(operand, weight)
        weight = weight.unflatten(0, (value.blocks, -1))
        return torch.einsum("bnc,nrc->bnr", operand.unflatten(-1, (value.blocks, -1)), weight).flatten(-2)


class InterpretedStep:
    """An :class:`Interpreted` with its own memory, as :class:`KernelStep` has it: write ``inputs``, call, read."""

    def __init__(self, flat: Flat, rows: int = 1, dtype: torch.dtype | None = None) -> None:
        self.flat: Flat = flat
        self.rows: int = rows
        self._step = Interpreted(flat, dtype)
        kind = torch.empty(0, dtype=self._step.dtype).numpy().dtype
        self.inputs = {
            name: np.zeros(rows, np.int64)
            if flat.values[i].op == "symbol"
            else np.zeros((rows, flat.values[i].size), kind)
            for name, i in flat.inputs.items()
        }
        self.state = [np.zeros((rows, m.size), kind) for m in flat.memories]
        self.outputs = {name: np.zeros((rows, flat.values[i].size), kind) for name, i in flat.outputs.items()}
        self.reset()

    def pack(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the weights anew."""
        self._step = Interpreted(replace(self.flat, tensors=tensors), self._step.dtype)

    def reset(self, rows: Sequence[int] | slice = slice(None)) -> None:
        """Begin anew."""
        for state, begin in zip(self.state, self._step.initial(self.rows), strict=True):
            state[rows] = begin.numpy()[rows]

    def __call__(self) -> None:
        """One step."""
        tensors = {name: torch.from_numpy(value) for name, value in self.inputs.items()}
        outputs, state = self._step(tensors, [torch.from_numpy(part) for part in self.state])
        for name, value in outputs.items():
            self.outputs[name][:] = value.numpy()
        for old, new in zip(self.state, [part.numpy() for part in state], strict=True):
            old[:] = new
