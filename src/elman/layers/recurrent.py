"""One cell as a layer, or as a stack of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence as SequenceOf
from typing import Any

import torch
from torch import Tensor, nn

from elman import cells
from elman.backends import known
from elman.equations import Cell, Program
from elman.errors import CellError, ShapeError, nearest
from elman.layers import stack as stacks
from elman.layers.stack import Stack, States
from elman.sequences import Batch
from elman.shapes import expect

State = Tensor | tuple[Any, ...]


class Recurrent(nn.Module):
    """Any cell over a sequence: stacked, in one direction or two, of any lengths. The loop it stands for is::

        for t in range(T):
            h = f(x[t], h)
            output[t] = g(h)

    - ``cell``: a key of the catalogue, ``file.py:name``, a :class:`Cell`, or a :class:`Program`.
    - ``input_size`` I and ``hidden_size`` H, or a list of one hidden size a layer.
    - ``num_layers`` L; ``bidirectional`` (D = 2); ``dropout`` between layers, in training; ``bias``.
    - ``batch_first``: x is (B, T, I) and not (T, B, I). States are (L D, B, H) either way, as in torch.nn.
    - ``backend``: ``"auto"``, or one by name.
    - ``options``: the cell's own options and sizes (``nonlinearity="relu"``, ``proj_size=8``).

    Raises :class:`CellError` for an unknown cell or option, :class:`ShapeError` for sizes that do not fit.

    >>> import torch, elman
    >>> layer = elman.Recurrent("peephole", input_size=3, hidden_size=5, num_layers=2)
    >>> output, (h, c) = layer(torch.zeros(7, 4, 3))
    >>> output.shape, h.shape
    (torch.Size([7, 4, 5]), torch.Size([2, 4, 5]))
    """

    def __init__(
        self,
        cell: str | Cell | Program,
        input_size: int,
        hidden_size: int | SequenceOf[int],
        num_layers: int = 1,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        backend: str = "auto",
        device: Any = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        hidden_sizes = _hidden_sizes(hidden_size, num_layers)
        if not 0.0 <= dropout <= 1.0:
            raise ShapeError(f"dropout: got {dropout}, want a probability from 0 to 1")
        if dropout and len(hidden_sizes) == 1:
            warnings.warn("dropout acts between layers and there is one layer: it does nothing", stacklevel=2)
        program, sizes = _program(cell, bias, options)
        self.input_size = _positive("input_size", input_size)
        self.hidden_size = hidden_size if isinstance(hidden_size, int) else list(hidden_sizes)
        self.num_layers = len(hidden_sizes)
        self.batch_first = batch_first
        self.stack = Stack.of(program, input_size, hidden_sizes, sizes, bidirectional, dropout, known(backend))
        for name, shape in self.stack.parameter_shapes().items():
            self.register_parameter(name, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
        self.reset_parameters()

    @property
    def program(self) -> Program:
        """The traced step."""
        return self.stack.program

    @property
    def output_size(self) -> int:
        """The size of the output's last dimension, both directions together."""
        return self.stack.output_size

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-k, k) with k = 1 / sqrt(H), as torch.nn does."""
        for layer, sizes in enumerate(self.stack.sizes):
            bound = 1.0 / math.sqrt(sizes["hidden"])
            for direction in range(self.stack.directions):
                for name in self.stack.parameter_names(layer, direction).values():
                    nn.init.uniform_(getattr(self, name), -bound, bound)

    def rows(self, projection: str, layer: int = 0, reverse: bool = False) -> dict[str, Tensor]:
        """The rows that belong to one projection (a gate, say), as views of the parameters that hold them.

        >>> import elman
        >>> {name: tuple(rows.shape) for name, rows in elman.Recurrent("lstm", 3, 5).rows("f").items()}
        {'weight_ih': (5, 3), 'weight_hh': (5, 5), 'bias_ih': (5,), 'bias_hh': (5,)}
        """
        names, sizes = self.stack.parameter_names(layer, int(reverse)), self.stack.sizes[layer]
        found = {}
        for parameter in self.program.parameters:
            if any(name == projection for name, _ in parameter.rows):
                start, stop = parameter.span(projection, sizes)
                found[parameter.name] = getattr(self, names[parameter.name])[start:stop]
        if not found:
            known_names = {name for p in self.program.parameters for name, _ in p.rows}
            raise CellError(
                f"cell '{self.program.name}' has no projection {projection!r}; {nearest(projection, known_names)}"
            )
        return found

    def forward(
        self, x: Any, state: Any = None, lengths: Any = None, reset: Tensor | None = None, **extras: Tensor
    ) -> tuple[Any, Any]:
        """Run the network over ``x`` and return ``(output, state)``.

        - ``x``: (T, B, I), (B, T, I) with ``batch_first``, (T, I), a PackedSequence, or a list of (T, I).
        - ``state``: (L D, B, H), or a tuple of these for a cell of several states; zeros where None. Where the layers
          differ in size, a tuple of L tensors (D, B, H) stands for each.
        - ``lengths``: (B,), how many steps of each row count; the rest is padding and reaches nothing.
        - ``reset``: (T, B) bool, True where a row starts anew: the state before that step is the initial one.
        - ``extras``: the cell's further inputs, (T, B, n) or (B, n), by name.

        ``output`` is (T, B, D O) in the form of ``x``; the state that of the last step of each row.
        """
        batch = Batch.of(x, self.input_size, lengths, self.batch_first)
        states = self._read_state(state, batch)
        sequence = stacks.Sequence(
            batch.x, batch.mask, self._read_reset(reset, batch), self._read_extras(extras, batch)
        )
        output, finals = stacks.run(self.stack, self._parameter, sequence, states, self.training)
        return batch.leave(output), self._write_state(finals, batch)

    def _parameter(self, name: str) -> Tensor:
        return getattr(self, name)

    def _read_state(self, state: Any, batch: Batch) -> States:
        rows = batch.x.shape[1]
        if state is None:
            return self.stack.zero_states(rows, batch.x)
        states = self.program.states
        names = ", ".join(s.name for s in states)
        given = (state,) if len(states) == 1 else state
        if not isinstance(given, tuple | list) or len(given) != len(states):
            raise ShapeError(
                f"state: cell '{self.program.name}' has the states ({names}); want a tuple of {len(states)} tensors"
            )
        per_layer = [self._split_state(s.name, s.size, value, batch) for s, value in zip(states, given, strict=True)]
        return [
            [tuple(values[layer][d] for values in per_layer) for d in range(self.stack.directions)]
            for layer in range(self.num_layers)
        ]

    def _split_state(self, name: str, size: str, value: Any, batch: Batch) -> list[Tensor]:
        """One state as a tensor (D, B, n) a layer."""
        sizes = [layer[size] for layer in self.stack.sizes]
        count, rows = self.stack.directions, batch.x.shape[1]
        if len(set(sizes)) > 1:
            if not isinstance(value, tuple | list) or len(value) != len(sizes):
                raise ShapeError(
                    f"state {name}: the layers differ in size, so it is a tuple of {len(sizes)} tensors (D, B, H)"
                )
            layers = [batch.state_in(v) for v in value]
        elif not isinstance(value, Tensor):
            raise ShapeError(f"state {name}: got a {type(value).__name__}, want a tensor (L D, B, {sizes[0]})")
        else:
            whole = batch.state_in(value)
            expect(
                whole,
                "LD B H",
                name=f"state {name}",
                sizes={"LD": len(sizes) * count, "B": rows, "H": sizes[0]},
            )
            layers = list(whole.split(count))
        for layer, (tensor, n) in enumerate(zip(layers, sizes, strict=True)):
            expect(tensor, "D B H", name=f"state {name} of layer {layer}", sizes={"D": count, "B": rows, "H": n})
        return layers

    def _write_state(self, finals: States, batch: Batch) -> Any:
        written = []
        for k, state in enumerate(self.program.states):
            layers = [torch.stack([direction[k] for direction in layer]) for layer in finals]
            alike = len({sizes[state.size] for sizes in self.stack.sizes}) == 1
            written.append(
                batch.state_out(torch.cat(layers)) if alike else tuple(batch.state_out(layer) for layer in layers)
            )
        return written[0] if len(written) == 1 else tuple(written)

    def _read_reset(self, reset: Tensor | None, batch: Batch) -> Tensor | None:
        if reset is None:
            return None
        steps, rows = batch.x.shape[:2]
        reset = self._rows_first(reset, batch)
        expect(reset, "T B", name="reset", sizes={"T": steps, "B": rows})
        return reset.bool()

    def _rows_first(self, value: Tensor, batch: Batch) -> Tensor:
        """A given (T, B, ...) tensor in the layout of the batch inside."""
        if batch.form == "unbatched":
            return value.unsqueeze(1)
        return batch.rows_in(value.transpose(0, 1) if batch.batch_first else value, 1)

    def _read_extras(self, extras: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        wanted = {e.name: e.size for e in self.program.extras}
        if extras.keys() != wanted.keys():
            missing, unknown = sorted(wanted.keys() - extras.keys()), sorted(extras.keys() - wanted.keys())
            what = f"needs the further input {', '.join(missing)}" if missing else f"has no input {', '.join(unknown)}"
            raise CellError(f"cell '{self.program.name}' {what}; it takes {', '.join(wanted) or 'x alone'}")
        return {name: self._read_extra(name, value, wanted[name], batch) for name, value in extras.items()}

    def _read_extra(self, name: str, value: Tensor, size: str, batch: Batch) -> Tensor:
        steps, rows = batch.x.shape[:2]
        n = self.stack.sizes[0][size]
        if value.shape == ((n,) if batch.form == "unbatched" else (rows, n)):
            return value.unsqueeze(0) if batch.form == "unbatched" else batch.rows_in(value, 0)
        value = self._rows_first(value, batch)
        value = value.unsqueeze(-1) if value.dim() == 2 and n == 1 else value
        expect(value, "T B n", name=name, sizes={"T": steps, "B": rows, "n": n})
        return value

    def extra_repr(self) -> str:
        """What ``print(layer)`` shows in the parentheses."""
        parts = [f"'{self.program.name}'", f"{self.input_size}", f"{self.hidden_size}"]
        if self.num_layers != 1:
            parts.append(f"num_layers={self.num_layers}")
        if self.batch_first:
            parts.append("batch_first=True")
        if self.stack.dropout:
            parts.append(f"dropout={self.stack.dropout}")
        if self.stack.bidirectional:
            parts.append("bidirectional=True")
        parts += [f"{k}={v!r}" for k, v in self.program.options]
        return ", ".join(parts)


def _hidden_sizes(hidden_size: int | SequenceOf[int], num_layers: int) -> list[int]:
    if isinstance(hidden_size, int):
        return [_positive("hidden_size", hidden_size)] * _positive("num_layers", num_layers)
    sizes = [_positive("hidden_size", size) for size in hidden_size]
    if not sizes or num_layers not in (1, len(sizes)):
        raise ShapeError(f"hidden_size: got {len(sizes)} sizes for num_layers={num_layers}; want one a layer")
    return sizes


def _positive(name: str, value: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ShapeError(f"{name}: got {value!r}, want a whole number above 0")
    return value


def _program(cell: str | Cell | Program, bias: bool, options: dict[str, Any]) -> tuple[Program, dict[str, int]]:
    """The program of ``cell``, and those of ``options`` that are sizes and not options of the equations."""
    if isinstance(cell, Program):
        sizes, unknown = options, options.keys() - set(cell.size_names)
        if unknown:
            raise CellError(f"program '{cell.name}' has no size {', '.join(sorted(unknown))}; its options are bound")
        return cell, _size_options(sizes)
    found = cells.get(cell)
    program = found.program(bias=bias, **{k: v for k, v in options.items() if k in found.options})
    rest = {k: v for k, v in options.items() if k not in found.options}
    for name in rest:
        if name not in program.size_names:
            raise CellError(
                f"cell '{found.name}' has no option {name!r}; {nearest(name, [*found.options, *program.size_names])}"
            )
    return program, _size_options(rest)


def _size_options(sizes: dict[str, Any]) -> dict[str, int]:
    return {name: _positive(name, value) for name, value in sizes.items()}
