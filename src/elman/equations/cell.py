"""A cell: a function that is one step of a recurrent network, and the program traced from it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, overload

from elman.equations.program import Program
from elman.equations.trace import BIASES, trace
from elman.errors import CellError, EquationError, nearest


class Cell:
    """A step written as its equations. Made by :func:`cell`.

    ``states`` are the names of its states, ``inputs`` its further inputs with their sizes, ``options`` its options
    with their defaults.
    """

    states: tuple[str, ...]
    options: dict[str, Any]

    def __init__(
        self, function: Callable[..., Any], sizes: Mapping[str, str], inputs: Mapping[str, Any], bias: str
    ) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.name: str = function.__name__
        self.bias = bias
        self.sizes: dict[str, str] = {name: str(size) for name, size in sizes.items()}
        self.inputs: dict[str, str] = {name: str(size) for name, size in inputs.items()}
        self.states, self.options = _read_signature(function, self.inputs)
        if bias not in BIASES:
            raise EquationError(f"cell '{self.name}': bias={bias!r}; it is one of {', '.join(BIASES)}")
        for name in self.sizes:
            if name != "x" and name not in self.states:
                raise EquationError(
                    f"cell '{self.name}': sizes= names '{name}', which is no state ({', '.join(self.states)})"
                )
        self._programs: dict[tuple[Any, ...], Program] = {}

    @property
    def source(self) -> str:
        """The first paragraph of the docstring: what the cell is and where it comes from."""
        return self._paragraphs[0]

    @property
    def when(self) -> str:
        """When to use the cell.

        The paragraph of the docstring that begins with ``When:``, or nothing.

        >>> import elman
        >>> elman.cells.get("mgu").when
        'a GRU at two thirds of the weights, for little data.'
        """
        paragraph = next((p for p in self._paragraphs if p.startswith("When:")), "")
        return paragraph.removeprefix("When:").strip()

    @property
    def notes(self) -> list[str]:
        """What else the docstring says, a paragraph each."""
        return [p for p in self._paragraphs[1:] if not p.startswith("When:")]

    @property
    def _paragraphs(self) -> list[str]:
        return [p.replace("\n", " ") for p in (inspect.getdoc(self.function) or "").split("\n\n")]

    def program(self, bias: bool = True, **options: Any) -> Program:
        """The program of this cell with these options; traced once and kept.

        Raises :class:`CellError` for an option it does not have, :class:`EquationError` for what tracing cannot see.

        >>> import elman
        >>> [p.name for p in elman.cells.get("lstm").program().parameters]
        ['weight_ih', 'weight_hh', 'bias_ih', 'bias_hh']
        """
        for name in options:
            if name not in self.options:
                raise CellError(f"cell '{self.name}' has no option '{name}'; {nearest(name, self.options)}")
        bound = self.options | options
        for name, value in bound.items():
            if not (value is None or isinstance(value, str | int | float)):
                raise EquationError(
                    f"cell '{self.name}': the option '{name}' is a {type(value).__name__}; options are stored with the "
                    "program, so they are text, numbers, True, False or None"
                )
        key = (bias, *((k, type(v), v) for k, v in sorted(bound.items())))
        if key not in self._programs:
            self._programs[key] = trace(
                self.name, self.function, self.states, sizes=self.sizes, inputs=self.inputs,
                bias=self.bias if bias else "none", options=bound,
            )  # fmt: skip
        return self._programs[key]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the equations as they stand: on symbols of another trace, so a cell may use a cell's equations."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<cell {self.name}({', '.join(['x', *self.states])})>"


def _read_signature(function: Callable[..., Any], inputs: Mapping[str, str]) -> tuple[tuple[str, ...], dict[str, Any]]:
    name = function.__name__
    positional: list[str] = []
    options: dict[str, Any] = {}
    missing = set(inputs)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            positional.append(parameter.name)
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            raise EquationError(
                f"cell '{name}': *{parameter.name} is not possible; a cell is f(x, *states, p, *, options)"
            )
        elif parameter.name in inputs:
            missing.discard(parameter.name)
        elif parameter.default is parameter.empty:
            raise EquationError(f"cell '{name}': the option '{parameter.name}' needs a default, or to stand in inputs=")
        else:
            options[parameter.name] = parameter.default
    if len(positional) < 3:
        raise EquationError(f"cell '{name}': got ({', '.join(positional)}), want (x, at least one state, p)")
    if missing:
        raise EquationError(
            f"cell '{name}': inputs= names {', '.join(sorted(missing))}, not among its keyword-only arguments"
        )
    return tuple(positional[1:-1]), options


@overload
def cell(function: Callable[..., Any]) -> Cell: ...
@overload
def cell(
    *, sizes: Mapping[str, str] | None = None, inputs: Mapping[str, Any] | None = None, bias: str = "one"
) -> Callable[[Callable[..., Any]], Cell]: ...
def cell(
    function: Callable[..., Any] | None = None,
    *,
    sizes: Mapping[str, str] | None = None,
    inputs: Mapping[str, Any] | None = None,
    bias: str = "one",
) -> Any:
    """Turn a function into a cell.

    ``f(x, *states, p, *, options)`` is one step of a recurrent network.

    ``p.name(a, b)`` is the affine projection W a + U b + bias, ``p.name()`` a learned vector; the rest is
    pointwise. It returns the new states, the first of which is the output, or an output and then the states.

    - ``sizes``: a size of its own for a state, or for ``x`` where the equations use it raw.
    - ``inputs``: further named inputs with their sizes, given to ``forward`` by name.
    - ``bias``: ``"one"`` a projection, or ``"each"`` operand its own (as torch.nn), or ``"none"``.

    Shapes: x (B, I), states (B, H), or of the sizes named. Raises :class:`EquationError` when first traced.

    >>> import elman
    >>> from elman.equations import sigmoid, tanh
    >>> @elman.cell
    ... def mgu(x, h, p):
    ...     f = sigmoid(p.f(x, h))
    ...     return (1 - f) * h + f * tanh(p.n(x, f * h))
    >>> mgu.program().kind
    '2 stages'
    """
    if function is not None:
        return Cell(function, {}, {}, "one")
    return lambda f: Cell(f, sizes or {}, inputs or {}, bias)
