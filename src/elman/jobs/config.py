"""The network of a run, as config.json holds it, and how a person's choices become it."""

from __future__ import annotations

import json
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field

from elman import cells
from elman.choices.network import NetworkChoices
from elman.equations import Cell, Program
from elman.errors import CellError, ElmanError, RunError, nearest
from elman.layers import Recurrent
from elman.training import checked


class NetworkConfig(NetworkChoices):
    """The network: its cell's program as traced (so that the cell's file is never needed again) and its sizes."""

    sizes: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict, description="the cell's further sizes")
    program: dict[str, Any]

    @classmethod
    def of(
        cls, cell: str | Cell, hidden: Any, layers: Any, options: Mapping[str, Any], **choices: Any
    ) -> NetworkConfig:
        """The network of a person's choices; ``options`` are the cell's own (and ``bias``), ``choices`` fields.

        Raises :class:`CellError` for an option the cell has not, and a cell that needs more than a series.
        """
        declared = cells.get(cell)
        own = {k: v for k, v in options.items() if k in declared.options or k == "bias"}
        program = declared.program(**own)
        sizes = {k: v for k, v in options.items() if k not in own}
        for name in sizes:
            if name not in program.size_names:
                hint = nearest(name, [*declared.options, *program.size_names])
                raise CellError(f"cell '{declared.name}' has no option '{name}'; {hint}")
        if program.extras:
            names = ", ".join(extra.name for extra in program.extras)
            raise CellError(f"cell '{declared.name}' needs {names} beside x, which no data here has; use another cell")
        own_fields = {
            "cell": named(cell),
            "hidden": per_layer(hidden, layers),
            "sizes": sizes,
            "program": json.loads(program.to_json()),
        }
        return checked(cls, own_fields | choices)

    def recurrent(self, input_size: int) -> Recurrent:
        """The layers, with fresh weights. Raises :class:`ShapeError` for sizes that do not fit the input."""
        program = Program.from_json(json.dumps(self.program))
        kept = ("bidirectional", "dropout", "recurrent_dropout", "weight_drop", "init")
        choices: dict[str, Any] = {**{name: getattr(self, name) for name in kept}, **self.sizes}
        try:
            return Recurrent(program, input_size, self.hidden, len(self.hidden), **choices)
        except RuntimeError as error:
            if "allocate" not in str(error):
                raise
            raise ElmanError(f"`hidden`: a network of {list(self.hidden)} does not fit into memory") from error


def named(cell: str | Cell) -> str:
    """What a cell is called in a run: the folder of its file says nothing there."""
    name = cell if isinstance(cell, str) else cell.name
    return Path(name).name if ".py" in name else name


def per_layer(hidden: Any, layers: Any) -> list[int]:
    """One hidden size a layer, from one for all or a list.

    >>> per_layer(32, 2)
    [32, 32]
    """
    try:
        count = operator.index(layers)
        sizes = [operator.index(h) for h in (hidden if isinstance(hidden, Sequence) else [hidden])]
    except TypeError:
        raise ElmanError(f"`hidden`: got {hidden!r} for `layers` {layers!r}; want whole numbers") from None
    if count < 1:
        raise ElmanError(f"`layers`: got {layers}, want 1 at least")
    sizes = sizes * count if len(sizes) == 1 else sizes
    if count not in (1, len(sizes)):
        raise ElmanError(f"`hidden`: got {len(sizes)} sizes for `layers` {layers}; want one, or one a layer")
    return sizes


def picked(choices: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Those of ``choices`` that are fields of ``model``."""
    return {k: v for k, v in choices.items() if k in model.model_fields}


def refuse_changes(network: NetworkConfig, configs: Sequence[BaseModel], choices: Mapping[str, Any]) -> None:
    """Raise :class:`RunError` where ``choices``, given again on resuming, are not those the run was begun with."""
    known = {name: value for config in configs for name, value in config.model_dump().items()}
    known |= network.model_dump(exclude={"program", "sizes"})
    known |= {"hidden": list(network.hidden), "layers": len(network.hidden)}
    for name, value in choices.items():
        if name not in known:
            raise RunError(f"`{name}`: a resumed training takes its options from the run; leave it out")
        if name == "cell":
            value = named(value)
        if name == "hidden":
            value = per_layer(value, len(network.hidden))
        if _comparable(value) != _comparable(known[name]):
            raise RunError(f"`{name}`: a resumed training goes on with {known[name]!r} and cannot change to {value!r}")


def _comparable(value: Any) -> Any:
    """``value`` so that 70 equals 70.0 and a list a tuple."""
    if isinstance(value, list | tuple):
        return [_comparable(v) for v in value]
    return float(value) if isinstance(value, int) else value
