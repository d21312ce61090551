"""One cell as a layer, or as a stack of them."""

from __future__ import annotations

import inspect
import operator
import warnings
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from elman import cells
from elman.backends import Call, known
from elman.equations import Cell, Program
from elman.errors import CellError, ShapeError, nearest
from elman.layers import stack as stacks
from elman.layers.initialise import initialise, scheme
from elman.layers.inputs import read_extras, read_reset, read_state, write_state
from elman.layers.stack import Noise, Ran, Stack, States
from elman.sequences import Batch

if TYPE_CHECKING:
    from elman.layers.step import Stepper


@dataclass(frozen=True)
class Recording:
    """A run with what happened inside: ``values[layer][direction][name]`` is (T, B, n), 0 where a row is over."""

    output: Any
    state: Any
    values: list[list[dict[str, Tensor]]]


class Recurrent(nn.Module):
    """Any cell over sequences: stacked, in one direction or two, of any lengths.

    The loop it stands for is::

        for t in range(T):
            h = f(x[t], h)
            output[t] = g(h)

    - ``cell``: a key of the catalogue, ``file.py:name``, a :class:`Cell`, or a :class:`Program`.
    - ``input_size`` I and ``hidden_size`` H, or a list of one hidden size a layer.
    - ``num_layers`` L; ``bidirectional`` (D = 2), the two outputs joined by ``merge``: concat, sum, mean, product, max.
    - ``residual``: each layer's input is added to its output where their sizes are equal.
    - ``batch_first``: x is (B, T, I) and not (T, B, I). States are (L D, B, H) either way, as in torch.nn.
    - ``dropout``, ``recurrent_dropout``, ``zoneout``, ``weight_drop``: probabilities, see :class:`Noise`.
    - ``init``: torch, glorot, orthogonal or identity; ``forget_bias``: what the gate ``f`` begins with.
    - ``learn_state``: the initial state is a parameter, ``initial_{state}_l{k}`` (n,).
    - ``backend``: ``"auto"``, or one by name.
    - ``recompute``: steps of a chunk whose inner values the backward pass computes again and does not keep; 0 keeps
      all. An LSTM of 64 units over 1000 steps took a third to a half of the memory and 2.5 to 4 times the time, one of
      512 units over 100 steps two thirds and twice the time: the longer the chunks, the less of either.
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
        merge: str = "concat",
        residual: bool = False,
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        weight_drop: float = 0.0,
        init: str = "torch",
        forget_bias: float | None = None,
        learn_state: bool = False,
        backend: str = "auto",
        recompute: int = 0,
        device: Any = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        hidden_sizes = _hidden_sizes(hidden_size, num_layers)
        noise = Noise(dropout, recurrent_dropout, zoneout, weight_drop)
        if dropout and len(hidden_sizes) == 1:
            warnings.warn("dropout acts between layers and there is one layer: it does nothing", stacklevel=2)
        program, sizes = _program(cell, bias, options)
        self.input_size: int = _positive("input_size", input_size)
        self.hidden_size: list[int] | int = hidden_sizes if isinstance(hidden_size, list | tuple) else hidden_sizes[0]
        self.num_layers: int = len(hidden_sizes)
        self.batch_first = batch_first
        self.init: str = init
        self.forget_bias: float | None = forget_bias
        self.learn_state: bool = learn_state
        scheme(init)
        self.stack: Stack = Stack.of(
            program, input_size, hidden_sizes, sizes, bidirectional=bidirectional, merge=merge, residual=residual,
            noise=noise, backend=known(backend), recompute=recompute,
        )  # fmt: skip
        shapes = self.stack.parameter_shapes() | (self.stack.initial_shapes() if learn_state else {})
        for name, shape in shapes.items():
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

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw every parameter anew by the scheme ``init``; learned initial states begin at 0."""
        for layer, sizes in enumerate(self.stack.sizes):
            for direction in range(self.stack.directions):
                names = self.stack.parameter_names(layer, direction)
                tensors = {own: getattr(self, name) for own, name in names.items()}
                initialise(self.program, sizes, tensors, self.init, self.forget_bias)
        for name in self.stack.initial_shapes() if self.learn_state else ():
            nn.init.zeros_(getattr(self, name))

    def rows(self, projection: str, layer: int = 0, reverse: bool = False) -> dict[str, Tensor]:
        """Return the rows of the parameters that belong to one projection (a gate, say).

        They are views.

        >>> import elman
        >>> {name: tuple(rows.shape) for name, rows in elman.Recurrent("lstm", 3, 5).rows("f").items()}
        {'weight_ih': (5, 3), 'weight_hh': (5, 5), 'bias_ih': (5,), 'bias_hh': (5,)}
        """
        names, sizes = self.stack.parameter_names(layer, int(reverse)), self.stack.sizes[layer]
        named = {}
        for parameter in self.program.parameters:
            if any(name == projection for name, _ in parameter.rows):
                start, stop = parameter.span(projection, sizes)
                named[parameter.name] = getattr(self, names[parameter.name])[start:stop]
        if not named:
            known_names = {name for p in self.program.parameters for name, _ in p.rows}
            hint = nearest(projection, known_names)
            raise CellError(f"cell '{self.program.name}' has no projection {projection!r}; {hint}")
        return named

    def forward(
        self, x: Any, state: Any = None, lengths: Any = None, reset: Tensor | None = None, **extras: Tensor
    ) -> tuple[Any, Any]:
        """Run the network over ``x`` and return ``(output, state)``.

        - ``x``: (T, B, I), (B, T, I) with ``batch_first``, (T, I), a PackedSequence, or a list of (T, I).
        - ``state``: (L D, B, H), or a tuple of these for a cell of several states; the initial one where None. Where
          the layers differ in size, a tuple of L tensors (D, B, H) stands for each.
        - ``lengths``: (B,), how many steps of each row count; the rest is padding and reaches nothing.
        - ``reset``: (T, B) bool, True where a row starts anew: the state before that step is the initial one, zeros or
          learned, whatever ``state`` was given.
        - ``extras``: the cell's further inputs, (T, B, n) or (B, n), by name.

        ``output`` is (T, B, D O) in the form of ``x``; the state that of the last step of each row.
        """
        batch, ran = self._run(x, state, lengths, reset, extras, ())
        return batch.leave(ran.output), write_state(self.stack, ran.states, batch)

    def stepper(self, rows: int = 1) -> Stepper:
        """The layer one step at a time, ``rows`` streams side by side, see :class:`Stepper`.

        >>> import elman
        >>> step = elman.Recurrent("lstm", input_size=1, hidden_size=4).stepper()
        >>> step(0.5).shape, [part.shape for part in step.state]
        ((1, 4), [torch.Size([1, 1, 4]), torch.Size([1, 1, 4])])
        """
        from elman.layers.step import Stepper

        return Stepper(self, rows)

    def step(self, x: Tensor, state: Any = None, **extras: Tensor) -> tuple[Tensor, Any]:
        """Run one step: from x (B, I) and the state to y (B, D O) and the next state.

        As :meth:`forward` on a sequence of one step.

        Gradients flow. Where they need not, and many steps follow, :meth:`stepper` is a hundred times as fast.

        >>> import torch, elman
        >>> layer = elman.Recurrent("gru", input_size=3, hidden_size=5)
        >>> y, h = layer.step(torch.zeros(2, 3))
        >>> y, h = layer.step(torch.zeros(2, 3), h)
        """
        if x.dim() != 2:
            raise ShapeError(f"x: got shape {tuple(x.shape)}, want (B, I)")
        time = 1 if self.batch_first else 0
        output, state = self(x.unsqueeze(time), state, **extras)
        return output.squeeze(time), state

    def record(
        self,
        x: Any,
        state: Any = None,
        lengths: Any = None,
        reset: Tensor | None = None,
        names: SequenceOf[str] | None = None,
        **extras: Tensor,
    ) -> Recording:
        """Run :meth:`forward` and keep every named value of every step.

        By layer and direction, with the names of the equations.

        ``names``: which of the states, gates and candidates; all where None. Raises :class:`CellError` for others.

        >>> import torch, elman
        >>> recording = elman.Recurrent("lstm", 3, 5).record(torch.zeros(7, 4, 3))
        >>> sorted(recording.values[0][0]), recording.values[0][0]["f"].shape
        (['c', 'f', 'g', 'h', 'i', 'o'], torch.Size([7, 4, 5]))
        """
        known_names = self.program.values
        wanted = tuple(known_names) if names is None else tuple(names)
        for name in wanted:
            if name not in known_names:
                raise CellError(f"cell '{self.program.name}' has no value {name!r}; {nearest(name, known_names)}")
        batch, ran = self._run(x, state, lengths, reset, extras, wanted)
        return Recording(batch.leave(ran.output), write_state(self.stack, ran.states, batch), ran.recorded)

    def calls(
        self, x: Any, state: Any = None, lengths: Any = None, reset: Tensor | None = None, **extras: Tensor
    ) -> tuple[list[list[Call]], Tensor]:
        """Return the calls that :meth:`forward` makes to the backend, and its output (T, B, O).

        One for each layer and direction, as in evaluation.

        >>> import torch, elman
        >>> calls, output = elman.Recurrent("lstm", 3, 5, num_layers=2).calls(torch.zeros(7, 4, 3))
        >>> calls[1][0].x.shape, output.shape
        (torch.Size([7, 4, 5]), torch.Size([7, 4, 5]))
        """
        _, ran = self._run(x, state, lengths, reset, extras, (), keep_calls=True)
        return ran.calls, ran.output

    def _run(
        self,
        x: Any,
        state: Any,
        lengths: Any,
        reset: Tensor | None,
        extras: dict[str, Tensor],
        record: tuple[str, ...],
        keep_calls: bool = False,
    ) -> tuple[Batch, Ran]:
        batch = Batch.of(x, self.input_size, lengths, self.batch_first)
        first = next(iter(self.stack.parameter_names(0, 0).values()), None)  # a cell may have nothing to learn
        dtype = batch.x.dtype if first is None else self._parameter(first).dtype
        if batch.x.dtype != dtype and not torch.is_autocast_enabled(batch.x.device.type):
            raise ShapeError(f"x: got {batch.x.dtype}, and the layer's parameters are {dtype}; use x.to({dtype})")
        # What a reset goes back to; made only where something begins there.
        initial = self._initial(batch) if state is None or reset is not None else None
        states = initial if state is None else read_state(self.stack, state, batch)
        assert states is not None
        sequence = stacks.Sequence(
            batch.x, batch.mask, read_reset(reset, batch), initial, read_extras(self.stack, extras, batch)
        )
        training = self.training and not keep_calls
        return batch, stacks.run(self.stack, self._parameter, sequence, states, training, record, keep_calls)

    def _initial(self, batch: Batch) -> States:
        rows = batch.x.shape[1]
        if not self.learn_state:
            return self.stack.zero_states(rows, batch.x)
        return [
            [
                tuple(self._parameter(name).expand(rows, -1) for name in self.stack.initial_names(layer, d))
                for d in range(self.stack.directions)
            ]
            for layer in range(self.num_layers)
        ]

    def _parameter(self, name: str) -> Tensor:
        # Looked up where it nearly always is: a module's own way of finding it takes ten times as long.
        registered = self._parameters.get(name)
        return getattr(self, name) if registered is None else registered

    def extra_repr(self) -> str:
        """What ``print(layer)`` shows in the parentheses."""
        stack, noise = self.stack, self.stack.noise
        shown = {
            "num_layers": (self.num_layers, 1),
            "batch_first": (self.batch_first, False),
            "bidirectional": (stack.bidirectional, False),
            "merge": (stack.merge, "concat"),
            "residual": (stack.residual, False),
            "recompute": (stack.recompute, 0),
            **{name: (p, 0) for name, p in vars(noise).items()},
            "init": (self.init, "torch"),
            "forget_bias": (self.forget_bias, None),
            "learn_state": (self.learn_state, False),
        }
        arguments = [f"'{self.program.name}'", f"{self.input_size}", f"{self.hidden_size}"]
        arguments += [f"{name}={value!r}" for name, (value, default) in shown.items() if value != default]
        return ", ".join([*arguments, *(f"{k}={v!r}" for k, v in self.program.options)])


def _hidden_sizes(hidden_size: int | SequenceOf[int], num_layers: int) -> list[int]:
    if not isinstance(hidden_size, list | tuple):
        return [_positive("hidden_size", hidden_size)] * _positive("num_layers", num_layers)
    sizes = [_positive("hidden_size", size) for size in hidden_size]
    if not sizes or num_layers not in (1, len(sizes)):
        raise ShapeError(f"hidden_size: got {len(sizes)} sizes for num_layers={num_layers}; want one a layer")
    return sizes


def _positive(name: str, value: Any) -> int:
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = -1
    if number < 1:
        raise ShapeError(f"{name}: got {value!r}, want a whole number above 0")
    return number


def _program(cell: str | Cell | Program, bias: bool, options: dict[str, Any]) -> tuple[Program, dict[str, int]]:
    """The program of ``cell``, and those of ``options`` that are sizes and not options of the equations."""
    if isinstance(cell, Program):
        sizes, unknown = options, options.keys() - set(cell.size_names)
        if unknown:
            raise CellError(f"program '{cell.name}' has no size {', '.join(sorted(unknown))}; its options are bound")
        return cell, _size_options(sizes)
    known = cells.get(cell)
    if hidden := (known.options.keys() | known.inputs.keys()) & _OWN_NAMES:
        raise CellError(
            f"cell '{known.name}': {', '.join(sorted(hidden))} is a name of the layer's own; call it otherwise"
        )
    program = known.program(bias=bias, **{k: v for k, v in options.items() if k in known.options})
    rest = {k: v for k, v in options.items() if k not in known.options}
    for name in rest:
        if name not in program.size_names:
            raise CellError(
                f"cell '{known.name}' has no option {name!r}; {nearest(name, [*known.options, *program.size_names])}"
            )
    return program, _size_options(rest)


def _size_options(sizes: dict[str, Any]) -> dict[str, int]:
    return {name: _positive(name, value) for name, value in sizes.items()}


# What the layer's constructor and forward take themselves: an option or input of a cell called so would not be seen.
_OWN_NAMES = frozenset(
    name for f in (Recurrent.__init__, Recurrent.record) for name in inspect.signature(f).parameters
) - {"options", "extras"}
