"""The commands of classifying: train classify, classify; and how its results are shown."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.choices.classify import CELL, HIDDEN, RECIPE, ClassifyConfig
from elman.choices.reading import MEMORY
from elman.choices.recipe import Recipe
from elman.cli import console, options, training
from elman.cli.console import Json
from elman.cli.options import RunFolder, option
from elman.errors import ElmanError

WANTED = "a .csv, .tsv, .parquet, .jsonl, .ts or .txt file, a folder of tables, or one with a .txt file a class"
Source = Annotated[str | None, typer.Argument(help=f"{WANTED[0].upper()}{WANTED[1:]}.", show_default=False)]
Sequence = Annotated[list[str] | None, option("Column of the texts or lists; with --id several, a channel each.")]


@options.takes(
    options.network(usual={"cell": CELL, "hidden": (HIDDEN,)}),
    options.fields(ClassifyConfig),
    options.fields(RECIPE, *(name for name in Recipe.model_fields if name not in ("epochs", "batch"))),
)
def train(
    choices: dict[str, Any],
    data: Source = None,
    out: options.Out = None,
    sequence: Sequence = None,
    label: Annotated[str | None, option("Column of the labels.")] = None,
    id: Annotated[str | None, option("Column that says which sequence a row, one step, belongs to.")] = None,
    validation: Annotated[str | None, option("Validate on this, read as DATA is; nothing is cut off for it.")] = None,
    test: Annotated[str | None, option("Test on this, read as DATA is; nothing is cut off for it.")] = None,
    epochs: Annotated[int | None, option("Passes over the training part. [as many as make 1500 steps, 8-400]")] = None,
    batch: Annotated[int | None, option("Examples in a step. [32; of texts of characters 64]")] = None,
    memory: Annotated[
        int | None, option(f"MiB of memory for reading files piece by piece. [{MEMORY}, of a folder]")
    ] = None,
    resume: options.Resume = False,
    log: options.Log = None,
    json: Json = False,
) -> int:
    """Train a network to classify texts, or sequences of numbers.

    Examples:
        elman train classify reviews.csv --sequence text --label stars
        elman train classify train.ts --test test.ts --cell lstm
    """
    reading = options.given(sequence=sequence or None, label=label, id=id, validation=validation, test=test)
    reading |= options.given(memory=memory)
    return training.train(
        _job(),
        data,
        out,
        choices | options.given(epochs=epochs, batch=batch),
        reading,
        resume,
        wanted=WANTED,
        next_steps=_next,
        log=log,
        as_json=json,
    )


def _next(classifier: Any, out: Path) -> str:
    test = f"elman test {out}; " if len(classifier.task.parts.test) else ""
    own = "TEXT" if classifier.task.parts.data.is_text else "--data FILE"
    return f"{test}elman plot {out}; elman classify {out} {own}"


def _job() -> Any:
    from elman.jobs import Classifier

    return Classifier


def classify(
    run: RunFolder,
    texts: Annotated[list[str] | None, typer.Argument(help="Texts, each in quotes.", show_default=False)] = None,
    data: Annotated[
        str | None, option("A file of sequences instead: a table, .ts, or .txt with a text a line.")
    ] = None,
    sequence: Annotated[str | None, option("Its column of the texts or lists.")] = None,
    out: Annotated[Path | None, options.out("A CSV file. [the terminal]")] = None,
    json: Json = False,
) -> int:
    """Classify texts or sequences, with probabilities.

    Examples:
        elman classify runs/reviews-gru 'a fine film' 'a dull one'
        elman classify runs/reviews-gru --data new.csv -o labels.csv
    """
    from elman.training import write_atomically

    if (data is None) == (not texts):
        raise ElmanError("want texts to classify, or --data FILE, and not both")
    if data is None and sequence is not None:
        raise ElmanError("--sequence says how to read --data, which is not given")
    classifier = _job().load(run)
    sequences = list(texts or []) if data is None else _sequences(data, sequence)
    prediction = classifier.predict(sequences)
    rows = [
        [prediction.labels[i], *(f"{p:.6g}" for p in prediction.probabilities[i]), *([s] if isinstance(s, str) else [])]
        for i, s in enumerate(sequences)
    ]
    text = io.StringIO()
    header = ["label", *prediction.classes, *(["text"] if isinstance(sequences[0], str) else [])]
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    if out is not None:
        write_atomically(out, text.getvalue().encode())
    result = {
        "run": str(run),
        "classes": list(prediction.classes),
        "labels": list(prediction.labels),
        "probabilities": prediction.probabilities.tolist(),
    }
    lines = _lines(prediction, sequences) if out is None else [f"{out}: {len(sequences)} sequences"]
    console.emit(result | ({"out": str(out)} if out else {}), lines, json)
    return console.DONE


def _sequences(data: str, sequence: str | None) -> list[Any]:
    from elman.data import read_sequences

    return list(read_sequences(data, **options.given(sequence=sequence)))


def _lines(prediction: Any, sequences: list[Any]) -> list[str]:
    """A line a sequence: its label, how probable it is, and the text itself."""
    width = max(map(len, prediction.labels))
    return [
        f"{label:{width}}  {max(row):6.1%}  {sequence if isinstance(sequence, str) else f'sequence {i}'}"
        for i, (label, row, sequence) in enumerate(
            zip(prediction.labels, prediction.probabilities, sequences, strict=True)
        )
    ]
