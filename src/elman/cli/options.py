"""What options a command has, taken from the configs they fill, and reading what they hold."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from elman.errors import ElmanError

RunFolder = Annotated[Path, typer.Argument(help="A run folder.", show_default=False)]
More = Annotated[bool, typer.Option("--more", help="Also compare a forecast with AutoETS and AutoTheta.")]


def option(help: str, *names: str, group: str | None = None) -> Any:
    """An option that has no default of its own: what is not given is the config's to say.

    Help lists it under ``group``.
    """
    return typer.Option(*names, help=help, show_default=False, rich_help_panel=group)


def out(help: str) -> Any:
    """The option that says where a result goes."""
    return option(help, "-o", "--out", group="Output")


Out = Annotated[Path | None, out("Where the run goes. [runs/DATA-CELL]")]
Resume = Annotated[bool, option("Go on with the run -o, which was interrupted.", "--resume", group="Output")]

Log = Annotated[
    Literal["tensorboard"] | None, option("Write each epoch's numbers there too: tensorboard.", group="Output")
]


def fields(config: type[BaseModel] | BaseModel, *names: str) -> dict[str, inspect.Parameter]:
    """An option for each field of ``config``, or those of ``names``; an instance shows its own values as defaults.

    >>> from elman.training import Recipe
    >>> list(fields(Recipe, "epochs", "lr"))
    ['epochs', 'lr']
    """
    model = config if isinstance(config, type) else type(config)
    return {
        name: _parameter(name, field, getattr(config, name, field.default), group_of(model))
        for name, field in model.model_fields.items()
        if not names or name in names
    }


def reading() -> dict[str, inspect.Parameter]:
    """The options of how a series is read."""
    from elman.choices.reading import ReadConfig

    def several(name: str) -> inspect.Parameter:
        words = _words(name, ReadConfig.model_fields[name])
        return _keyword(name, Annotated[list[str] | None, option(words, group=group_of(ReadConfig))])

    return {**fields(ReadConfig), **{name: several(name) for name in ("target", "known", "past", "static")}}


def parted(choices: Mapping[str, Any], config: type[BaseModel]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``choices`` in two: those that are fields of ``config``, and the others.

    >>> from elman.training import Recipe
    >>> parted({"lr": 1, "time": "t"}, Recipe)
    ({'lr': 1}, {'time': 't'})
    """
    own = {name: value for name, value in choices.items() if name in config.model_fields}
    return own, {name: value for name, value in choices.items() if name not in own}


def network(*names: str, usual: Mapping[str, Any] | None = None) -> dict[str, inspect.Parameter]:
    """The options every network has, and those of ``names`` that a task adds; ``usual`` are a task's own defaults."""
    from elman.choices.network import NetworkChoices

    usual = {"layers": 1, **(usual or {})}
    config = NetworkChoices.model_construct(**{k: v for k, v in usual.items() if k != "layers"})
    group = group_of(NetworkChoices)
    layers = option(f"Layers. [{usual['layers']}]", "--layers", group=group)
    settings = option("An option of the cell: nonlinearity=relu.", "--set", group=group)
    return {
        **fields(config, "cell", "hidden"),
        "layers": _keyword("layers", Annotated[int | None, layers]),
        **fields(config, *names, "dropout"),
        "options": _keyword("options", Annotated[list[str] | None, settings]),
    }


def takes(*groups: Mapping[str, inspect.Parameter]) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """A command that has the options of ``groups`` beside its own: those that were given come as ``choices``."""
    added = {name: parameter for group in groups for name, parameter in group.items()}

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        own = inspect.signature(command, eval_str=True).parameters
        kept = {name: parameter for name, parameter in own.items() if name != "choices"}

        @functools.wraps(command)
        def run(**values: Any) -> int:
            texts = given(**{name: values.pop(name) for name in added})
            return command(**values, choices={name: _read(name, value) for name, value in texts.items()})

        together = inspect.Signature([*(p.replace(kind=p.KEYWORD_ONLY) for p in kept.values()), *added.values()])
        run.__signature__ = together  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in together.parameters.values()}
        return run

    return decorate


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def group_of(config: type[BaseModel]) -> str | None:
    """What the options of ``config`` stand under in the help: its title."""
    return config.model_config.get("title")


def _parameter(name: str, field: FieldInfo, default: Any, group: str | None) -> inspect.Parameter:
    """The option of a field; what the command line has no type for is read from text."""
    help = f"{_words(name, field)}{_shown(default)}"
    flag = [f"--{name.replace('_', '-')}"] if field.annotation is bool else []  # and no --no-...
    kind: Any = next((k for k in (bool, int, float) if field.annotation in (k, k | None)), str)
    return _keyword(name, Annotated[kind | None, option(help, *flag, group=group)])


def _words(name: str, field: FieldInfo) -> str:
    words, bracket, default = (field.description or name).partition(" [")
    return f"{words[0].upper()}{words[1:]}.{bracket}{default}"


def _shown(default: Any) -> str:
    """A default, in brackets; of a flag there is nothing to show."""
    if isinstance(default, bool) or default is None:
        return ""
    values = default if isinstance(default, tuple) else (default,)
    return f" [{','.join(f'{v:g}' if isinstance(v, float) else str(v) for v in values)}]"


def _read(name: str, value: Any) -> Any:
    """The value an option's text stands for, where the command line has no type for it."""
    readers = {"hidden": whole_numbers, "split": percentages}
    if name == "options":
        return settings("--set", value)
    return readers[name](f"--{name}", value) if name in readers else value


def percentages(option: str, text: str) -> list[float]:
    """Three numbers, for training, validation and test.

    >>> percentages("--split", "70,10,20")
    [70.0, 10.0, 20.0]
    """
    try:
        first, second, third = map(float, text.split(","))
        return [first, second, third]
    except ValueError:
        raise ElmanError(f"{option}: got {text!r}, want training, validation, test in per cent: 70,10,20") from None


def numbers(option: str, text: str) -> list[float]:
    """Comma-separated numbers.

    >>> numbers("--levels", "80,95")
    [80.0, 95.0]
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ElmanError(f"{option}: got {text!r}, want numbers such as 80,95") from None


def whole_numbers(option: str, text: str) -> list[int]:
    """Comma-separated whole numbers.

    >>> whole_numbers("--hidden", "64,32")
    [64, 32]
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ElmanError(f"{option}: got {text!r}, want a whole number, or one a layer such as 64,32") from None


def settings(option: str, texts: Sequence[str]) -> dict[str, Any]:
    """``name=value`` pairs, the values as numbers or truth values where they read so.

    >>> settings("--set", ["nonlinearity=relu", "proj_size=8"])
    {'nonlinearity': 'relu', 'proj_size': 8}
    """
    values: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.isidentifier():
            raise ElmanError(f"{option}: got {text!r}, want name=value, such as nonlinearity=relu")
        values[name] = _value(value)
    return values


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def given(**options: Any) -> dict[str, Any]:
    """The options that were given: those that are not None (or an empty list).

    >>> given(lr=0.1, clip=None, target=[])
    {'lr': 0.1}
    """
    return {name: value for name, value in options.items() if value is not None and value != []}


def aligned(rows: Mapping[str, str]) -> list[str]:
    """Rows of a name and a text, the texts under each other."""
    width = max(map(len, rows), default=0)
    return [f"{name:<{width}}  {text}" for name, text in rows.items()]
