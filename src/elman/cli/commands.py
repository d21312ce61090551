"""What the command line is built of: commands loaded when they are used, and help in groups, with examples."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from elman.cli import console

EXAMPLES = "\nExamples:\n"  # what begins them in a docstring; each stands indented on a line of its own


class Command(TyperCommand):
    """A command whose help shows its options by group, then what it may be typed like."""

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Write the docstring; of its examples, see :meth:`format_epilog`."""
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(inspect.cleandoc(self.help or "").partition(EXAMPLES)[0].rstrip())

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options, those of the output last."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                groups.setdefault(_group_of(parameter), []).append((record[0].replace("list[str]", "str"), record[1]))
        for title in sorted(groups, key=lambda title: title == "Output"):
            with formatter.section(title):
                formatter.write_dl(groups[title])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples as they are typed."""
        examples = inspect.cleandoc(self.help or "").partition(EXAMPLES)[2]
        if examples:
            with formatter.section("Examples"):
                for line in inspect.cleandoc(examples).splitlines():
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _group_of(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return "Arguments"
    return "Output" if parameter.name == "help" else parameter.rich_help_panel or "Options"


@contextlib.contextmanager
def _interrupts_passed_on() -> Iterator[None]:
    """What interrupts the block comes out of typer, which would make a bare exit code of it."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        raise console.Interrupted from interrupt


class Later(TyperCommand):
    """A command known by its name and the first line of its docstring until it is used.

    ``place`` is where its function stands: module:function.
    """

    def __init__(self, name: str, target: str) -> None:
        self.module, _, self.function = target.partition(":")
        super().__init__(name, rich_markup_mode=None)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Read the arguments as the command itself does."""
        return self.loaded().make_context(info_name, args, parent=parent, **extra)

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first line of the function's docstring, read from its file: importing that would load much."""
        source = Path(__file__).with_name(f"{self.module.rpartition('.')[2]}.py").read_text(encoding="utf-8")
        functions = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
        docstring = next(ast.get_docstring(node) for node in functions if node.name == self.function)
        return (docstring or "").partition("\n")[0]

    def loaded(self) -> Any:
        """The command itself."""
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(self.name, cls=Command)(getattr(importlib.import_module(self.module), self.function))
        return typer.main.get_command(alone)


class Group(TyperGroup):
    """Commands, listed in the sections they are added in."""

    sections: Mapping[str, list[str]] = {}

    def add(self, sections: Mapping[str, Mapping[str, str | TyperGroup]]) -> Group:
        """Add the commands of ``sections``: by name where each stands, or a group of their own."""
        self.sections = {title: list(commands) for title, commands in sections.items()}
        for name, target in (pair for commands in sections.values() for pair in commands.items()):
            self.add_command(Later(name, target) if isinstance(target, str) else target, name)
        return self

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the options. A flag that is not given is False: to read None as that, typer would load pydantic."""
        parameters = super().get_params(ctx)
        for flag in parameters:
            flag.default = flag.default or False
        return parameters

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the arguments; what interrupts that is passed on."""
        with _interrupts_passed_on():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; what interrupts it is passed on."""
        with _interrupts_passed_on():
            return super().invoke(ctx)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each section: the commands and what they do."""
        width = max(map(len, self.commands))
        for title, names in self.sections.items():
            with formatter.section(title):
                rows = [(f"{name:{width}}", self.commands[name].get_short_help_str(formatter.width)) for name in names]
                formatter.write_dl(rows)


def group(callback: Callable[..., None], name: str, help: str, completion: bool = False) -> Group:
    """A group without commands yet: ``callback`` takes its options."""
    empty = typer.Typer(
        name=name,
        help=help,
        cls=Group,
        add_completion=completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    empty.callback(invoke_without_command=True)(callback)
    made = typer.main.get_command(empty)
    assert isinstance(made, Group)
    return made
