"""The commands of generation: train generate, generate; and how its results are shown."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.choices.generate import NETWORK, NOISE, RECIPE, GenerateConfig, Sampling
from elman.choices.recipe import Recipe
from elman.cli import console, options, training
from elman.cli.console import Json
from elman.cli.options import RunFolder, option

Source = Annotated[str | None, typer.Argument(help="A text in UTF-8, or any file with --level byte.")]


@options.takes(options.network(*NOISE, usual=NETWORK), options.fields(GenerateConfig), options.fields(Recipe(**RECIPE)))
def train(
    choices: dict[str, Any],
    data: Source = None,
    out: options.Out = None,
    resume: options.Resume = False,
    log: options.Log = None,
    json: Json = False,
) -> int:
    """Train a network to write on a text.

    Examples:
        elman train generate book.txt --max-time 600
        elman train generate book.txt --level word --cell gru --hidden 512 -o runs/book
    """
    from elman.jobs import Generator

    return training.train(
        Generator, data, out, choices, {}, resume, wanted="the path of a text", next_steps=_next, log=log, as_json=json
    )


def _next(generator: Any, out: Path) -> str:
    scored = generator.task.test or generator.task.validation
    test = f"elman test {out}; " if scored else ""
    return f"{test}elman plot {out}; elman generate {out} --length 300"


@options.takes(options.fields(Sampling))
def generate(
    choices: dict[str, Any],
    run: RunFolder,
    prompt: Annotated[str, option("What the text begins with. [a new line]")] = "",
    length: Annotated[int, typer.Option(help="Symbols to generate.")] = 200,
    seed: Annotated[int, typer.Option(help="Random seed.", min=0)] = 0,
    json: Json = False,
) -> int:
    """Continue a prompt, printing as it generates.

    Examples:
        elman generate runs/book --prompt 'Once upon' --length 300 --temperature 0.7
    """
    from elman.jobs import Generator

    pieces = (text for text, _ in Generator.load(run).write(prompt, length, seed=seed, **choices))
    if json:
        console.emit({"run": str(run), "prompt": prompt, "text": "".join(pieces)}, [], json)
    else:
        console.stream(itertools.chain([prompt], pieces))
    return console.DONE
