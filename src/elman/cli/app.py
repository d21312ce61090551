"""The commands by name, in the order a person meets them."""

from __future__ import annotations

import typer

from elman.cli.commands import group

HELP = "Recurrent networks from their equations: train, test, draw, explain, forecast, write and classify."
TRAIN = {
    "forecast": "elman.cli.forecasting:train",
    "generate": "elman.cli.generating:train",
    "classify": "elman.cli.classifying:train",
}


def _root(context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if version:
        from elman import __version__

        print(f"elman {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def _tasks(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        print(context.get_help())


app = group(_root, "elman", HELP, completion=True).add(
    {
        "Begin": {"demo": "elman.cli.forecasting:demo", "inspect": "elman.cli.catalogue:inspect"},
        "Train": {
            "train": group(_tasks, "train", "Train a network for a task.").add({"Tasks": TRAIN}),
            "tune": "elman.cli.tuning:tune",
            "sweep": "elman.cli.sweeping:sweep",
            "update": "elman.cli.forecasting:update",
        },
        "Judge a run": {
            "test": "elman.cli.runs:score",
            "plot": "elman.cli.runs:plot",
            "explain": "elman.cli.explaining:explain",
            "backtest": "elman.cli.forecasting:backtest",
        },
        "Use a run": {
            "forecast": "elman.cli.forecasting:forecast",
            "generate": "elman.cli.generating:generate",
            "classify": "elman.cli.classifying:classify",
            "export": "elman.cli.exporting:export",
            "serve": "elman.cli.serving:serve",
        },
        "Cells and this machine": {
            "cells": "elman.cli.catalogue:cells",
            "check": "elman.cli.checking:check",
            "bench": "elman.cli.measuring:bench",
            "doctor": "elman.cli.measuring:doctor",
        },
    }
)
