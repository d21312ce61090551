"""The command ``elman``: parse, call, print."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from elman.cli import catalogue, checking, classifying, console, explaining, forecasting, generating, measuring, runs

app = typer.Typer(
    name="elman",
    help="Recurrent networks from their equations: train, test, draw, explain, forecast, write and classify.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
training = typer.Typer(help="Train a network for a task.", rich_markup_mode=None)
app.add_typer(training, name="train")


@training.callback(invoke_without_command=True)
def _tasks(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


training.command("forecast")(forecasting.train)
training.command("generate")(generating.train)
training.command("classify")(classifying.train)
app.command("test")(runs.score)
app.command()(runs.plot)
app.command()(explaining.explain)
app.command()(forecasting.forecast)
app.command()(forecasting.update)
app.command()(forecasting.backtest)
app.command()(generating.generate)
app.command()(classifying.classify)
app.command()(forecasting.demo)
app.command()(catalogue.cells)
app.command()(catalogue.inspect)
app.command()(measuring.bench)
app.command()(measuring.doctor)
app.command()(checking.check)


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from elman import __version__

        print(f"elman {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code: 0 done, 2 the user's input, 1 our fault, 130 interrupted."""
    as_json = "--json" in arguments
    return console.guarded(lambda: app(args=list(arguments), prog_name="elman", standalone_mode=False), as_json)


def main() -> None:
    """The entry point of the command."""
    sys.exit(run(sys.argv[1:]))
